# Mobile DeepLabv3 on PASCAL VOC 2012 with today's recipe: the network of
# configs/deeplabv3_mnv2_voc.py, whose weights fit here and the other way
# round.
#
# Why: AdamW with a warm-up needs no search of the rate for a trained backbone,
# and colors, continuous scales and crops that no class fills are usual by
# now. Source of the numbers: _base_/schedules/deeplabv3_adamw_40k.py, and
# mmseg's augmentation of VOC with the crop kept at 513. Not trained here.
#
# It is for a backbone with weights of ImageNet:
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
        type='RandomResize',
        scale=(2052, 513),
        ratio_range=(0.5, 2.0),
        keep_ratio=True,
    ),
    dict(type='mnv2_mm.SegRandomCrop', crop_size=(513, 513), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mnv2_mm.SegPhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
datasets = _base_.train_dataloader.dataset.datasets
datasets[0].pipeline = datasets[1].pipeline = train_pipeline
train_dataloader = dict(dataset=dict(datasets=datasets))
