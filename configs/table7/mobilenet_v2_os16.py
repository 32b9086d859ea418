# Table 7, row "MNet V2*", output stride 16. Paper: 75.32 mIoU, 2.11M
# parameters, 2.75B multiply-adds. Counted: 2.114M, 2.74B.
_base_ = '../deeplabv3_mnv2_voc.py'

tta_pipeline = None  # the row has no MF
