# The official recipe: RMSProp 0.004 (momentum 0.9, decay 0.9, epsilon 1.0),
# batch 24, 200k steps = 41 epochs of COCO, weights averaged with 0.9999.
# Its staircase would first step at 800,720 and so never does. TF starts it
# from a trained detector; the warm-up and the clipping are ours, so that a
# random start stays finite with any batch.
max_epochs = 41

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='mnv2_mm.RMSpropTF',
        lr=0.004,
        alpha=0.9,
        eps=1.0,
        momentum=0.9,
        weight_decay=4e-5,
    ),
    # TF decays convolution kernels only, and no depthwise ones
    paramwise_cfg=dict(
        norm_decay_mult=0, bias_decay_mult=0, dwconv_decay_mult=0
    ),
    clip_grad=dict(max_norm=10, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=1000)
]
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExponentialMovingAverage',
        momentum=1e-4,
        priority=49,
    )
]
# --auto-scale-lr scales the rate from this batch to yours
auto_scale_lr = dict(enable=False, base_batch_size=24)
