# Figure 6b, "no residual": the same parameters and multiply-adds as the
# paper's network.
_base_ = '../mnv2_in1k.py'

model = dict(backbone=dict(type='mnv2_mm.MobileNetV2Ablation', shortcut='none'))
