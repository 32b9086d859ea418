# Table 4, row "NasNet-A" (4 @ 1056). Paper: 74.0 % top-1, 5.3M parameters,
# 564M multiply-adds. Counted: 5.29M (5.25M without batch norm), 563.6M. The
# recipe is that of MobileNetV2, but for the dropout.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='mnv2_mm.NASNetA'),
    head=dict(in_channels=1056, dropout_ratio=0.5),
)
