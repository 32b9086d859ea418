# Table 6, row SSD512: 36.1M parameters, 99.5B multiply-adds (98.6G counted).
# A seventh level, boxes from 4 to 90 % of the picture.
_base_ = [
    '../_base_/models/ssd300_vgg16.py',
    '../_base_/datasets/coco_ssd.py',
    '../_base_/schedules/ssd_120e.py',
    '../_base_/runtime/det.py',
]

channels = (512, 1024, 512, 256, 256, 256, 256)
model = dict(
    neck=dict(
        out_channels=channels,
        level_strides=(2, 2, 2, 2, 1),
        level_paddings=(1, 1, 1, 1, 1),
        last_kernel_size=4,
    ),
    bbox_head=dict(
        in_channels=channels,
        anchor_generator=dict(
            input_size=512,
            basesize_ratio_range=(0.1, 0.9),
            strides=[8, 16, 32, 64, 128, 256, 512],
            ratios=[[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]],
        ),
    ),
)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[5].scale = test_pipeline[1].scale = (512, 512)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
