# Table 7, row "MNet V1", output stride 8, ASPP, MF. Paper: 78.56 mIoU, 11.15M
# parameters, 941.9B multiply-adds. Counted: 11.145M, 800.7B; 990.8B with the
# rows and columns that TensorFlow's atrous convolutions pad. 941.9 is probably
# a misprint of 991.9.
# MF is `tools/test.py --tta`: six scales, each with its mirror image. DeepLab
# trains at output stride 16 and evaluates at 8; such weights fit here.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mnv2_mm.MobileNetV1',
        out_indices=('Conv2d_13_pointwise',),
        output_stride=8,
    ),
    decode_head=dict(in_channels=1024, atrous_rates=(12, 24, 36)),
)
