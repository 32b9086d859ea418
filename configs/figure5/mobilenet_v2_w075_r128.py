# Figure 5, width 0.75 at 128 pixels. The official release states 63.2 %
# top-1 and 69M multiply-adds for it; its classifier has 1001 classes.
_base_ = [
    '../_base_/models/mnv2_cls.py',
    '../_base_/datasets/in1k_cls_r128.py',
    '../_base_/schedules/in1k_rmsprop.py',
    '../_base_/runtime/cls.py',
]

model = dict(
    backbone=dict(widen_factor=0.75, padding='same'), head=dict(in_channels=1280)
)
