# coco_det.py at 416x416, 64 images a batch. Darknet draws another size from
# 320 to 608 every ten batches, this config has one; mmdet does that with
# model.data_preprocessor.batch_augments with BatchSyncRandomResize.
_base_ = './coco_det.py'

input_size = (416, 416)  # width, height
train_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
