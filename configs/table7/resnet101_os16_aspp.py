# Table 7, row "ResNet-101", output stride 16, ASPP. Paper: 80.49 mIoU, 58.16M
# parameters, 81.0B multiply-adds. Counted: 58.164M, 76.05B; 80.83B with the
# rows and columns that TensorFlow's atrous convolutions pad.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(
    backbone=dict(
        _delete_=True, type='mnv2_mm.DeepLabResNet', depth=101, output_stride=16
    ),
    decode_head=dict(in_channels=2048, atrous_rates=(6, 12, 18)),
)
tta_pipeline = None  # the row has no MF
