# MobileNetV2 on ImageNet: the row "MobileNetV2" of Table 4 (72.0 % top-1,
# 3.4M parameters, 300M multiply-adds at 224).
# Source of the numbers: see the comment of each base.
#
# Changed most often:
#   width, classes: _base_/models/mnv2_cls.py, for example the row 1.4
#     model.backbone.widen_factor=1.4 model.head.in_channels=1792
#   data, input size: _base_/datasets/in1k_cls.py
#   rate, length, processes: _base_/schedules/in1k_rmsprop.py
_base_ = [
    '_base_/models/mnv2_cls.py',
    '_base_/datasets/in1k_cls.py',
    '_base_/schedules/in1k_rmsprop.py',
    '_base_/runtime/cls.py',
]
