# Mobile DeepLabv3 on PASCAL VOC 2012, AdamW for 40k iterations: the network of
# configs/deeplabv3_mnv2_voc.py, so the weights of one fit the other.
#
# Why: AdamW with a warm-up needs no search for the learning rate of a trained
# backbone, and color changes, continuous scales and a limit on the share of
# one class in a crop are usual today. Source of the numbers:
# _base_/schedules/deeplabv3_adamw_40k.py, and mmseg's augmentation of VOC with
# the crop of 513. Not trained here.
#
# It needs a backbone with ImageNet weights:
#   model.backbone.init_cfg.type=Pretrained
#   model.backbone.init_cfg.checkpoint=FILE
_base_ = [
    '_base_/models/deeplabv3_mnv2.py',
    '_base_/datasets/voc_seg.py',
    '_base_/schedules/deeplabv3_adamw_40k.py',
    '_base_/runtime/seg.py',
]

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations'),
    dict(type='mnv2_mm.CheckSegMask', num_classes=21),
    dict(
        type='RandomResize', scale=(2052, 513), ratio_range=(0.5, 2.0), keep_ratio=True
    ),
    dict(type='mnv2_mm.SegRandomCrop', crop_size=_base_.crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mnv2_mm.SegPhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(dataset, pipeline=train_pipeline)
            for dataset in _base_.train_dataloader.dataset.datasets
        ]
    )
)
