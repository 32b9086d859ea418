# Table 7, row "MNet V2*", output stride 8, ASPP, MF. Paper: 78.42 mIoU, 4.52M
# parameters, 387B multiply-adds. Counted: 4.524M, 327.9B; 387.5B with the rows
# and columns that TensorFlow's atrous convolutions pad.
# MF is `tools/test.py --tta`: six scales, each with its mirror image. DeepLab
# trains at output stride 16 and evaluates at 8; such weights fit here.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(
    backbone=dict(output_stride=8), decode_head=dict(atrous_rates=(12, 24, 36))
)
