# coco_det.py at 416x416, 64 images a batch. Darknet draws another size from
# 320 to 608 every ten batches, this trains at one; mmdet has it as
# model.data_preprocessor.batch_augments with BatchSyncRandomResize.
_base_ = './coco_det.py'

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[3].scale = test_pipeline[1].scale = (416, 416)
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
