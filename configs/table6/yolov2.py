# Table 6, row YOLOv2, at 416x416: 50.7M parameters, 17.5B multiply-adds. No
# one network has both; see _base_/models/yolov2.py. Darknet draws another
# size from 320 to 608 every ten batches, this trains at the row's own; to add:
#   model.data_preprocessor.batch_augments="[dict(
#     type='BatchSyncRandomResize',random_size_range=(320,608))]"
_base_ = [
    '../_base_/models/yolov2.py',
    '../_base_/datasets/coco_det.py',
    '../_base_/schedules/yolov2_500k.py',
    '../_base_/runtime/det.py',
]

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[3].scale = test_pipeline[1].scale = (416, 416)
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
