# Table 4, row "MobileNetV1". Paper: 70.6 % top-1, 4.2M parameters, 575M
# multiply-adds. Counted: 4.21M weights and biases (4.23M with batch norm),
# 568.7M. The recipe is that of MobileNetV2, but for the dropout.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(
        _delete_=True, type='mnv2_mm.MobileNetV1', out_indices=('Conv2d_13_pointwise',)
    ),
    head=dict(in_channels=1024, dropout_ratio=0.001),
)
