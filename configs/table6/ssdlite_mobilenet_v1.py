# Table 6, row MNet V1 + SSDLite: 5.1M parameters, 1.3B multiply-adds.
_base_ = '../ssdlite_mnv2_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mnv2_mm.MobileNetV1',
        out_indices=('Conv2d_11_pointwise', 'Conv2d_13_pointwise'),
        padding=_base_.padding,
        norm_cfg=_base_.norm_cfg,
    ),
    neck=dict(in_channels=(512, 1024)),
    bbox_head=dict(in_channels=(512, 1024, 512, 256, 256, 128)),
)
