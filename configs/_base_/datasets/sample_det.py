# The generated sample set for detection: COCO format, 5 classes.
# Made by `python tools/make_sample_data.py`.

# ---- changed most often -------------------------------------------------
data_root = 'data/sample/'
classes = ('circle', 'square', 'triangle', 'star', 'ring')
input_size = (128, 128)  # (width, height) of what the network sees
batch_size = 16
num_workers = 1
# -------------------------------------------------------------------------
data_help = 'Make it (15 seconds): mnv2 sample'
dataset_type = 'CocoDataset'
metainfo = dict(
    classes=classes,
    palette=[
        (220, 20, 60),
        (0, 128, 255),
        (60, 180, 75),
        (255, 165, 0),
        (145, 30, 180),
    ],
)

# No random crop: it does not help in such a short training.
train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
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
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/train/'),
        filter_cfg=dict(filter_empty_gt=False, min_size=1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/val/'),
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
