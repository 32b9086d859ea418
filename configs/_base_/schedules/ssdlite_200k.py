# The official recipe: RMSProp 0.004 (momentum 0.9, decay 0.9, epsilon 1.0),
# batch 24, 200k steps = 41 epochs of COCO, a staircase, weight decay 4e-5, an
# average of the weights with 0.9999.
#
# TF starts it from a trained detector. Ours, so that training from random
# weights stays finite with any batch: the warm-up of the learning rate, the
# clipping, and an average whose decay rises to 0.9999 (it is fixed in TF's
# detectors; warmup=False does the same, and after 200k steps it makes no
# difference). TF's exact recipe, from a checkpoint:
#   load_from=FILE optim_wrapper.clip_grad=None
#   param_scheduler.LinearLR.start_factor=1.0 custom_hooks.EMAHook.warmup=False
max_epochs = 41

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
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
    # TF decays convolution kernels: all of the extra levels and predictors,
    # whose scope has separable_conv2d in it, but none of the backbone's
    # depthwise ones (in our backbones their modules have this name)
    paramwise_cfg=dict(
        norm_decay_mult=0,
        bias_decay_mult=0,
        custom_keys=dict(depthwise_conv=dict(decay_mult=0)),
    ),
    clip_grad=dict(max_norm=10, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=1000),
    # TF's exponential_decay_learning_rate; its first step comes after the end
    dict(type='StepLR', by_epoch=False, step_size=800720, gamma=0.95),
]
# weights only: TF evaluates with the current statistics of BN
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='mnv2_mm.TFExponentialMovingAverage',
        decay=0.9999,
        warmup=True,
        update_buffers=False,
        priority=49,
    )
]
# --auto-scale-lr scales the rate from this batch to yours
auto_scale_lr = dict(enable=False, base_batch_size=24)
