# Figure 6a, "linear bottleneck": the paper's network.
_base_ = '../mnv2_in1k.py'

model = dict(backbone=dict(bottleneck_act=None))
