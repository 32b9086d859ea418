# Figure 5, width 0.35 at 224 pixels. The official release states 60.3 %
# top-1 and 59M multiply-adds for it; its classifier has 1001 classes.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(widen_factor=0.35, padding='same'), head=dict(in_channels=1280)
)
