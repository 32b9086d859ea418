# Figure 6b, "shortcut between expansions": where they join is said in
# mnv2_mm/models/ablations.py. The same parameters and multiply-adds
# as the paper's network.
_base_ = '../mnv2_in1k.py'

model = dict(backbone=dict(shortcut='expansion'))
