# Table 6, row SSD512: 36.1M parameters, 99.5B multiply-adds (98.6G counted).
_base_ = [
    '../_base_/models/ssd512_vgg16.py',
    '../_base_/datasets/coco_ssd.py',
    '../_base_/schedules/ssd_120e.py',
    '../_base_/runtime/det.py',
]
input_size = (512, 512)  # width, height
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
