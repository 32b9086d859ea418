# in1k_cls.py at 96x96.
_base_ = './in1k_cls.py'

input_size = 96
# every step that has a scale (mnv2_mm.DistortedCrop, Resize) gets this one
train_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
