# Table 4, row "MobileNetV2 (1.4)". Paper: 74.7 % top-1, 6.9M parameters, 585M
# multiply-adds. Counted: 6.06M weights and biases (6.11M with batch norm),
# 582.2M; the official release too states 6.06M and 582M, not 6.9M.
_base_ = '../mnv2_in1k.py'

model = dict(backbone=dict(widen_factor=1.4), head=dict(in_channels=1792))
