# Own data: SSDLite on BCCD (blood cells) at 224 px, from random weights, ten
# to twenty minutes on two CPU cores. The data base file has the data root,
# the classes and the pipelines; ssdlite_bccd_mmdet.py trains mmdet's own
# SSDLite on the same.
_base_ = [
    '../_base_/models/ssdlite_mnv2.py',
    '../_base_/datasets/bccd_det.py',
    '../_base_/schedules/adamw_short_det.py',
    '../_base_/runtime/det.py',
]

# BN momentum of mmdet's SSDLite: TF's 0.0003 is made for 200k steps
norm = dict(type='BN', eps=1e-3, momentum=0.03)

model = dict(
    backbone=dict(norm_cfg=norm),
    neck=dict(norm_cfg=norm),
    bbox_head=dict(
        num_classes=3,
        loss='softmax',
        # cells fill 5 to 40 % of the picture: smaller boxes than COCO's, and
        # all six of them on the lowest level too
        anchor_generator=dict(
            input_size=224,
            scales=(0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0),
            reduce_lowest=False,
        ),
        norm_cfg=norm,
    ),
    test_cfg=dict(score_thr=0.01),
)
default_hooks = dict(logger=dict(interval=17))
