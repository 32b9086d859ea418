# Table 4, row "ShuffleNet (x2)". Paper: 73.7 % top-1, 5.4M parameters, 524M
# multiply-adds. Counted: 5.40M weights and biases (5.45M with batch norm),
# 524.0M. The recipe is that of MobileNetV2, without dropout.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='ShuffleNetV1', groups=3, widen_factor=2.0),
    head=dict(in_channels=1920, dropout_ratio=0.0),
)
