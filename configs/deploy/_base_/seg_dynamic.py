# Mobile DeepLabv3, any number of images of 513x513 per run.
_base_ = './seg.py'
ir_config = dict(dynamic_axes=dict(input={0: 'batch'}, output={0: 'batch'}))
