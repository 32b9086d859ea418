# Own data: SSDLite on BCCD (blood cells) at 224 px, from random weights, ten
# to twenty minutes on two CPU cores. Data root, classes and pipelines are in
# _base_/datasets/bccd_det.py; ssdlite_bccd_mmdet.py trains mmdet's own SSDLite
# on the same data.
_base_ = [
    '../_base_/models/ssdlite_mnv2.py',
    '../_base_/datasets/bccd_det.py',
    '../_base_/schedules/adamw_short_det.py',
    '../_base_/runtime/det.py',
]

# For a short training from random weights, as in mmdet's SSDLite: BN statistics
# that adapt within tens of steps (TF's momentum of 0.0003 is for 200k steps),
# and smaller initial weights than TF's, which change more at the same learning
# rate.
norm = dict(type='BN', eps=1e-3, momentum=0.03)
small = dict(type='TruncNormal', layer='Conv2d', std=0.03)

model = dict(
    backbone=dict(norm_cfg=norm, init_cfg=small),
    neck=dict(norm_cfg=norm, init_cfg=small),
    bbox_head=dict(
        num_classes=3,
        loss='softmax',
        # Cells fill 6 to 40 % of the image: smaller boxes than COCO's, all
        # six on the lowest level too. These are mmdet's, at 224 px 34, 70,
        # 105, 141, 177 and 213 px.
        anchor_generator=dict(
            input_size=224,
            scales=(0.152, 0.3125, 0.47, 0.63, 0.79, 0.95, 1.0),
            reduce_lowest=False,
        ),
        norm_cfg=norm,
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.001),
    ),
    test_cfg=dict(score_thr=0.01),
)
default_hooks = dict(
    logger=dict(interval=17), memory_format=dict(type='mnv2_mm.ChannelsLastHook')
)
