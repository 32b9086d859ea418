# COCO 2017 detection at 320x320, aspect ratio not kept (as TF's
# fixed_shape_resizer).

# ---- changed most often -------------------------------------------------
data_root = 'data/coco/'
# (width, height). Options of the command line, which anchors have to follow:
#   train_dataloader.dataset.pipeline.Resize.scale="(300,300)"
#   val_dataloader.dataset.pipeline.Resize.scale="(300,300)"
#   test_dataloader.dataset.pipeline.Resize.scale="(300,300)"
#   model.bbox_head.anchor_generator.input_size=300
input_size = (320, 320)
batch_size = 24
num_workers = 4
# -------------------------------------------------------------------------
data_help = (
    'Download train2017.zip, val2017.zip and annotations_trainval2017.zip '
    'from https://cocodataset.org/#download and unpack them into data/coco, '
    'so that there are data/coco/train2017/*.jpg, data/coco/val2017/*.jpg '
    'and data/coco/annotations/instances_{train,val}2017.json. A copy '
    'elsewhere can be linked: ln -s /path/to/coco data/coco'
)

# Source: the official config's two augmentations, ssd_random_crop with its
# seven settings and the horizontal flip.
train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='mnv2_mm.SSDRandomCrop'),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mnv2_mm.Contiguous'),
    dict(type='PackDetInputs'),
]
# The hosts' inferencers look for LoadImageFromFile by this very name.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=0),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/instances_val2017.json',
    metric='bbox',
    classwise=True,
)
test_evaluator = val_evaluator
