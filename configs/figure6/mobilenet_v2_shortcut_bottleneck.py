# Figure 6b, "shortcut between bottlenecks": the paper's network.
_base_ = '../mnv2_in1k.py'

model = dict(backbone=dict(type='mnv2_mm.MobileNetV2Ablation', shortcut='bottleneck'))
