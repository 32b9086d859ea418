# Mobile DeepLabv3 with MobileNetV2: section 6.3 of the paper.
# Source of the numbers: Table 7 and the DeepLab code. This is the form the
# paper recommends: layer_18 (320 channels), output stride 16, no ASPP:
# 2.11M parameters and 2.74 billion multiply-adds at 513x513, 21 classes.
#
# Changed most often, from a config or by --cfg-options:
#   the ASPP row of Table 7 (4.52M)
#     model.decode_head.atrous_rates="(6,12,18)"
#   output stride 8, as the paper evaluates (rates double)
#     model.backbone.output_stride=8
#     model.decode_head.atrous_rates="(12,24,36)"
#   width: in_channels is 112 160 240 320 416 448 for 0.35 0.5 .75 1 1.3 1.4
#     model.backbone.widen_factor=0.5 model.decode_head.in_channels=160
#   your classes, background included
#     model.decode_head.num_classes=3
model = dict(
    _scope_='mmseg',
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        # [-1, 1]; 0 is then the 127.5 that the DeepLab code pads with
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        # Training crops are padded to it. Test images keep their size;
        # test_cfg=dict(size=(513, 513)) pads them too, as the DeepLab code.
        size=(513, 513),
    ),
    backbone=dict(
        type='mnv2_mm.MobileNetV2',
        widen_factor=1.0,
        out_indices=('layer_18',),
        output_stride=16,
        # At sizes 16n+1 (513, 257, ...) symmetric is TF's SAME exactly.
        padding='symmetric',
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.003),
    ),
    decode_head=dict(
        type='mnv2_mm.LiteASPPHead',
        in_channels=320,
        channels=256,
        in_index=0,
        atrous_rates=None,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=dict(type='BN', eps=1e-5, momentum=0.0003),
        align_corners=True,
        # the mean over the pixels that have a label
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
