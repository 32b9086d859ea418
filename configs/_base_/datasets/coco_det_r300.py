# coco_det.py at 300x300, the input of Google's released detectors.
_base_ = './coco_det.py'

input_size = (300, 300)  # width, height
train_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.test_pipeline
]
# images without an object count too, as in TF
train_dataloader = dict(
    dataset=dict(pipeline=train_pipeline, filter_cfg=dict(filter_empty_gt=False))
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
