# BCCD, blood cells: 205 / 87 photos of 640x480, 3 classes, MIT license
# (github.com/Shenggan/BCCD_Dataset), as COCO files.

# ---- changed most often -------------------------------------------------
data_root = 'data/bccd_coco/'
classes = ('RBC', 'WBC', 'Platelets')
input_size = (224, 224)  # width, height
batch_size = 4
num_workers = 1
# -------------------------------------------------------------------------
data_help = (
    'Convert BCCD (github.com/Shenggan/BCCD_Dataset) to COCO format, so that '
    'there are data/bccd_coco/images/*.jpg and '
    'data/bccd_coco/annotations/{train,val}.json. A copy elsewhere can be '
    'linked: ln -s /path/to/bccd_coco data/bccd_coco'
)
metainfo = dict(classes=classes, palette=[(220, 20, 60), (0, 128, 255), (255, 165, 0)])
train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='mnv2_mm.MinIoURandomCrop',
        min_ious=(0.3, 0.5, 0.7, 0.9),
        min_crop_size=0.5,
    ),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mnv2_mm.PhotoMetricDistortion'),
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
    # 205 images leave a last batch of one, on which mmdet's SSDLite fails
    drop_last=True,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=1),
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
        metainfo=metainfo,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/val.json',
    metric='bbox',
    classwise=True,
)
test_evaluator = val_evaluator
