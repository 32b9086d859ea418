# Table 7, row "MNet V2*", output stride 8, MF. Paper: 77.33 mIoU, 2.11M
# parameters, 152.6B multiply-adds. Counted: 2.114M, 152.3B.
# MF is `tools/test.py --tta`: six scales, each with its mirror image. DeepLab
# trains at output stride 16 and evaluates at 8; such weights fit here.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(backbone=dict(output_stride=8))
