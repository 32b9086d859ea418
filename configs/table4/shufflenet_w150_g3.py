# Table 4, row "ShuffleNet (1.5)". Paper: 71.5 % top-1, 3.4M parameters, 292M
# multiply-adds. Counted: 3.41M weights and biases (3.44M with batch norm),
# 299.6M. The recipe is that of MobileNetV2, without dropout.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='ShuffleNetV1', groups=3, widen_factor=1.5),
    head=dict(in_channels=1440, dropout_ratio=0.0),
)
