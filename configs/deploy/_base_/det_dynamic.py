# SSDLite, any number of images per run.
_base_ = './det.py'
ir_config = dict(
    dynamic_axes=dict(input={0: 'batch'}, dets={0: 'batch'}, labels={0: 'batch'})
)
