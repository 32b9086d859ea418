# SSDLite at 128 px on the generated sample set, from random weights: three
# minutes on two CPU cores (`tools/quickstart.sh`).
#
# TF's recipe is for COCO and 200k steps. What differs, so that 441 steps suffice:
# - half the width, and BN statistics that adapt within tens of steps (momentum 0.1
#   instead of 0.0003);
# - softmax over the classes and the background, which gives the hard negatives less
#   weight at the start than TF's sigmoid;
# - He's initialization, and a head that begins with nearly equal scores;
# - default boxes of the size of the objects (a third to a half of the image) on the
#   lowest level too, whose cells are the finest;
# - AdamW at a high rate with a warm-up and a cosine.
_base_ = [
    '../_base_/models/ssdlite_mnv2.py',
    '../_base_/datasets/sample_det.py',
    '../_base_/schedules/adamw_short_det.py',
    '../_base_/runtime/det.py',
]

# ---- changed most often -------------------------------------------------
max_epochs = 7
lr = 0.006
# -------------------------------------------------------------------------
norm = dict(type='BN', eps=1e-3, momentum=0.1)
he = dict(type='Kaiming', layer='Conv2d', mode='fan_out')

model = dict(
    backbone=dict(widen_factor=0.5, norm_cfg=norm, init_cfg=he),
    neck=dict(in_channels=(288, 640), widen_factor=0.5, norm_cfg=norm, init_cfg=he),
    bbox_head=dict(
        num_classes=5,
        in_channels=(288, 640, 256, 128, 128, 64),
        loss='softmax',
        anchor_generator=dict(
            input_size=128,
            scales=(0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
            reduce_lowest=False,
        ),
        norm_cfg=norm,
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.01),
    ),
    test_cfg=dict(score_thr=0.01, nms=dict(iou_threshold=0.5)),
)
# `fused`: a step of so small a network takes a tenth less time.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=20),
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
auto_scale_lr = dict(base_batch_size=16)
default_hooks = dict(
    logger=dict(interval=10), memory_format=dict(type='mnv2_mm.ChannelsLastHook')
)
