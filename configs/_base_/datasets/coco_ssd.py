# COCO as the SSD paper trains on it: at 300x300, with its zoom-out and color
# changes before the crop, in batches of 32.
_base_ = 'coco_det.py'

input_size = (300, 300)  # width, height
batch_size = 32
train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='mnv2_mm.PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18,
    ),
    dict(
        type='mnv2_mm.Expand',
        mean=[123.675, 116.28, 103.53],
        to_rgb=True,
        ratio_range=(1, 4),
    ),
    dict(
        type='mnv2_mm.MinIoURandomCrop',
        min_ious=(0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size=0.3,
    ),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(step, scale=input_size) if step.type == 'Resize' else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(batch_size=batch_size, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=batch_size, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
