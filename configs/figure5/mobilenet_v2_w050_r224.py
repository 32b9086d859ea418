# Figure 5, width 0.5 at 224 pixels. The official release states 65.4 %
# top-1 and 97M multiply-adds for it; its classifier has 1001 classes.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(widen_factor=0.5, padding='same'), head=dict(in_channels=1280)
)
