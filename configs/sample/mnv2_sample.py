# MobileNetV2 at 64 px on the generated sample set, from random weights: three
# minutes on two CPU cores (`tools/quickstart.sh`).
#
# The paper's recipe is for ImageNet and millions of steps. What differs, so that 900
# steps suffice: half the width, He's initialization, AdamW at a high rate with a short
# warm-up and a cosine, no average of the weights, and BN statistics that adapt within
# tens of steps (momentum 0.1; TF's 0.003 needs thousands of steps).
_base_ = [
    '../_base_/models/mnv2_cls.py',
    '../_base_/datasets/sample_cls.py',
    '../_base_/runtime/cls.py',
]

# ---- changed most often -------------------------------------------------
max_epochs = 16
lr = 0.005
# -------------------------------------------------------------------------

model = dict(
    backbone=dict(
        widen_factor=0.5,
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1),
        init_cfg=dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
    ),
    head=dict(num_classes=5, topk=(1,)),
)

# `fused`: a step of so small a network takes a sixth less time.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.01, fused=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=32)

default_hooks = dict(
    logger=dict(interval=10), memory_format=dict(type='mnv2_mm.ChannelsLastHook')
)
