# Figure 5, width 1 at 224 pixels. The official release states 71.8 %
# top-1 and 300M multiply-adds for it; its classifier has 1001 classes.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(widen_factor=1.0, padding='same'), head=dict(in_channels=1280)
)
