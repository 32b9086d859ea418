# SSD on VGG16: SGD 0.001 at batch 32 (the SSD paper, section 3.4), 120 epochs
# with steps at 80 and 110 (mmdet's 24 epochs of a set repeated five times).
# Warm-up as mmdet's; the clipping is ours, since there is no batch norm.
max_epochs = 120

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        milestones=[80, 110],
        gamma=0.1,
    ),
]
# --auto-scale-lr scales the rate from this batch to yours
auto_scale_lr = dict(enable=False, base_batch_size=32)
