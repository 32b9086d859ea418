# Classification, any number of images per run.
_base_ = './cls.py'
ir_config = dict(dynamic_axes=dict(input={0: 'batch'}, output={0: 'batch'}))
