# SSDLite at 128 px on the generated sample set, from random weights: about five
# minutes on two CPU cores.
#
# TF's recipe is for 200k steps. Here: half the width, a short schedule, and BN
# statistics that adapt within tens of steps (momentum 0.1 instead of 0.0003).
_base_ = [
    '../_base_/models/ssdlite_mnv2.py',
    '../_base_/datasets/sample_det.py',
    '../_base_/schedules/adamw_short_det.py',
    '../_base_/runtime/det.py',
]

# ---- changed most often -------------------------------------------------
max_epochs = 12
# -------------------------------------------------------------------------
norm = dict(type='BN', eps=1e-3, momentum=0.1)

model = dict(
    backbone=dict(widen_factor=0.5, norm_cfg=norm),
    neck=dict(in_channels=(288, 640), widen_factor=0.5, norm_cfg=norm),
    bbox_head=dict(
        num_classes=5,
        in_channels=(288, 640, 256, 128, 128, 64),
        anchor_generator=dict(input_size=128),
        norm_cfg=norm,
    ),
    test_cfg=dict(score_thr=0.01),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
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
default_hooks = dict(
    logger=dict(interval=10), memory_format=dict(type='mnv2_mm.ChannelsLastHook')
)
