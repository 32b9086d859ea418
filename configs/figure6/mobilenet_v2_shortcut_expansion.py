# Figure 6b, "shortcut between expansions": mnv2_mm/models/ablations.py says
# where they connect. The same parameters and multiply-adds as the paper's
# network.
_base_ = '../mnv2_in1k.py'

model = dict(backbone=dict(type='mnv2_mm.MobileNetV2Ablation', shortcut='expansion'))
