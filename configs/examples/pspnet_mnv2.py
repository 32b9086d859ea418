# Mixing: a stock mmseg PSPNet, with our backbone instead of ResNet, on VOC.
#
# For any other model of mmseg: replace its backbone by mnv2_mm.MobileNetV2,
# remove `pretrained`, and set in_channels and in_index of the heads to the
# outputs of the backbone. A wrong number is an error; these lines print the
# right ones:
#   from mnv2_mm.models import MobileNetV2
#   MobileNetV2(1.0, (4, 6), output_stride=8).out_channels   (96, 320)
# Source of the other numbers: mmseg's pspnet_r50-d8 with its voc12aug recipe.
_base_ = [
    '../_base_/datasets/voc_seg.py',
    '../_base_/schedules/deeplabv3_30k.py',
    '../_base_/runtime/seg.py',
]

norm = dict(type='BN', requires_grad=True)
model = dict(
    _scope_='mmseg',
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(513, 513),
    ),
    backbone=dict(
        type='mnv2_mm.MobileNetV2',
        widen_factor=1.0,
        # rows 5 and 7 of Table 2, 96 and 320 channels
        out_indices=(4, 6),
        output_stride=8,
    ),
    decode_head=dict(
        type='PSPHead',
        in_channels=320,
        in_index=1,
        channels=512,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=norm,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=96,
        in_index=0,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=norm,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
