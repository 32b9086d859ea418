# Darknet's recipe for YOLOv2 on COCO (yolov2.cfg): SGD 0.001 at batch 64,
# steps after 400k and 450k of 500,200 batches (273 epochs). Its warm-up rises
# with the fourth power over 1000 batches, here linearly. It starts from
# ImageNet weights; the clipping is ours, for random weights.
max_epochs = 273

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=5e-4),
    # Darknet decays convolution kernels only
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        milestones=[218, 246],
        gamma=0.1,
    ),
]
# --auto-scale-lr scales the rate from this batch to yours
auto_scale_lr = dict(enable=False, base_batch_size=64)
