# SGD 0.5 at batch 1024, momentum 0.9, weight decay 2e-5 except batch norm,
# five epochs of linear warm-up and a cosine to zero over 600 epochs: the
# recipe of torchvision's second weights of MobileNetV2 (pull request 5560 of
# pytorch/vision). Its average of the weights is updated every 32 steps with a
# decay that follows from batch and length; here every step with 0.9999. Ours
# too: no decay of depthwise kernels and biases.
max_epochs = 600
warmup_epochs = 5

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=2e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, dwconv_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        by_epoch=True,
        begin=0,
        end=warmup_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=0.0,
        by_epoch=True,
        begin=warmup_epochs,
        end=max_epochs,
        T_max=max_epochs - warmup_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='mnv2_mm.TFExponentialMovingAverage',
        decay=0.9999,
        update_buffers=True,
        priority='ABOVE_NORMAL',
    )
]

# --auto-scale-lr scales the rate by batch_size * processes / 1024
auto_scale_lr = dict(enable=False, base_batch_size=1024)
