# SSDLite 320 on MobileNetV2 1.0, COCO, from random weights, SGD for 600 epochs:
# the network of configs/ssdlite_mnv2_coco.py, so the weights of one fit the
# other.
#
# Why: the official recipe continues a trained detector, with a batch of 24 and
# only crops and flips. From a random start larger batches, more epochs and
# stronger augmentation are usual. Source of the numbers: mmdet's
# ssdlite_mobilenetv2-scratch_8xb24-600e_coco, with the augmentation of the
# SSD paper (section 2.2 and the zoom-out of 3.6);
# _base_/schedules/ssdlite_sgd_600e.py says what is ours. Not trained here.
_base_ = [
    '_base_/models/ssdlite_mnv2.py',
    '_base_/datasets/coco_det.py',
    '_base_/schedules/ssdlite_sgd_600e.py',
    '_base_/runtime/det.py',
]

# statistics that follow within a hundred steps
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.03)
model = dict(
    backbone=dict(norm_cfg=norm_cfg),
    neck=dict(norm_cfg=norm_cfg),
    bbox_head=dict(norm_cfg=norm_cfg),
)
# Colors leave a worker as floats, as in mmdet. Clipped and rounded, as in the
# SSD paper's own code, they take a quarter of the bytes:
#   train_dataloader.dataset.pipeline.PhotoMetricDistortion.to_uint8=True
train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='mnv2_mm.Expand',
        mean=[127.5, 127.5, 127.5],
        to_rgb=True,
        ratio_range=(1, 4),
    ),
    dict(
        type='mnv2_mm.MinIoURandomCrop',
        min_ious=(0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size=0.3,
    ),
    dict(type='Resize', scale=_base_.input_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='mnv2_mm.PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18,
    ),
    dict(type='PackDetInputs'),
]
# for 8 processes; with another number use --auto-scale-lr
train_dataloader = dict(batch_size=24, dataset=dict(pipeline=train_pipeline))
