# Table 7, row "MNet V1", output stride 16, ASPP. Paper: 75.29 mIoU, 11.15M
# parameters, 14.25B multiply-adds. Counted: 11.145M, 12.76B; 14.23B with the
# rows and columns that TensorFlow's atrous convolutions pad.
_base_ = '../deeplabv3_mnv2_voc.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mnv2_mm.MobileNetV1',
        out_indices=('Conv2d_13_pointwise',),
        output_stride=16,
    ),
    decode_head=dict(in_channels=1024, atrous_rates=(6, 12, 18)),
)
tta_pipeline = None  # the row has no MF
