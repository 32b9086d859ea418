# Table 7, row "ResNet-101", output stride 8, ASPP, MF. Paper: 82.70 mIoU,
# 58.16M parameters, 4870.6B multiply-adds. Counted: 58.164M, 4353.8B; 4868.9B
# with the rows and columns that TensorFlow's atrous convolutions pad.
# MF is `tools/test.py --tta`: six scales, each with its mirror image. DeepLab
# trains at output stride 16 and evaluates at 8; such weights fit here.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(
    backbone=dict(
        _delete_=True, type='mnv2_mm.DeepLabResNet', depth=101, output_stride=8
    ),
    decode_head=dict(in_channels=2048, atrous_rates=(12, 24, 36)),
)
