# Table 7, row "MNet V2*", output stride 16, ASPP. Paper: 75.70 mIoU, 4.52M
# parameters, 5.8B multiply-adds. Counted: 4.524M, 5.36B; 5.82B with the rows
# and columns that TensorFlow's atrous convolutions pad.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(decode_head=dict(atrous_rates=(6, 12, 18)))
tta_pipeline = None  # the row has no MF
