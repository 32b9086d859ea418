# SGD 0.015 at batch 192, momentum 0.9, weight decay 4e-5, 500 iterations of
# warm-up and a cosine over 600 epochs: mmdet's
# ssdlite_mobilenetv2-scratch_8xb24-600e_coco. Ours: the average of the
# weights and of the statistics of batch norm, whose decay rises as in the
# official recipes; no weight decay of batch norm, biases and depthwise kernels;
# the clipping, so that training stays finite with any batch.
max_epochs = 600

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.015, momentum=0.9, weight_decay=4e-5),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, dwconv_decay_mult=0),
    clip_grad=dict(max_norm=10, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(
        type='CosineAnnealingLR',
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='mnv2_mm.TFExponentialMovingAverage',
        decay=0.9999,
        update_buffers=True,
        priority=49,
    )
]
# --auto-scale-lr scales the rate from this batch to yours
auto_scale_lr = dict(enable=False, base_batch_size=192)
