# MobileNetV2 on the generated sample set, from random weights: about two
# minutes on two CPU cores.
#
# The paper's recipe is for millions of steps. Here: half the width, AdamW with
# a short warm-up and a cosine, no average of the weights, and BN statistics
# that adapt within tens of steps (momentum 0.1; TF's 0.003 needs thousands of
# steps).
_base_ = [
    '../_base_/models/mnv2_cls.py',
    '../_base_/datasets/sample_cls.py',
    '../_base_/runtime/cls.py',
]

# ---- changed most often -------------------------------------------------
max_epochs = 8
lr = 0.002
# -------------------------------------------------------------------------

model = dict(
    backbone=dict(widen_factor=0.5, norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1)),
    head=dict(num_classes=5, topk=(1,)),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, dwconv_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=lr / 100,
        begin=1,
        end=max_epochs,
        T_max=max_epochs - 1,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=32)

default_hooks = dict(
    logger=dict(interval=10), memory_format=dict(type='mnv2_mm.ChannelsLastHook')
)
