# Figure 6a, "linear bottleneck": the paper's network.
_base_ = '../mnv2_in1k.py'

model = dict(backbone=dict(type='mnv2_mm.MobileNetV2Ablation', bottleneck_act=None))
