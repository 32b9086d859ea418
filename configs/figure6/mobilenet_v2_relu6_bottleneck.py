# Figure 6a, "relu6 in bottleneck": an activation after every projection.
# The same parameters and multiply-adds as the paper's network.
_base_ = '../mnv2_in1k.py'

model = dict(
    backbone=dict(type='mnv2_mm.MobileNetV2Ablation', bottleneck_act=dict(type='ReLU6'))
)
