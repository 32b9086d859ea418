# Table 4, row "MobileNetV2". Paper: 72.0 % top-1, 3.4M parameters, 300M
# multiply-adds. Counted: 3.47M weights and biases (3.50M with batch norm),
# 300.8M.
_base_ = '../mnv2_in1k.py'
