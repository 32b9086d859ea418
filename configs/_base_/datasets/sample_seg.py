# The generated sample set for segmentation: index masks, 0 background and
# the 5 classes. Made by `python tools/make_sample_data.py`.

# ---- changed most often -------------------------------------------------
data_root = 'data/sample/'
classes = ('background', 'circle', 'square', 'triangle', 'star', 'ring')
input_size = (96, 96)  # (width, height) of a training crop
test_scale = (128, 96)  # (width, height) of a test image
batch_size = 16
num_workers = 1
# -------------------------------------------------------------------------
data_help = 'Make it (15 seconds): mnv2 sample'
dataset_type = 'BaseSegDataset'
metainfo = dict(
    classes=classes,
    palette=[
        [0, 0, 0],
        [220, 20, 60],
        [0, 128, 255],
        [60, 180, 75],
        [255, 165, 0],
        [145, 30, 180],
    ],
)

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations'),
    dict(type='mnv2_mm.CheckSegMask', num_classes=len(classes)),
    dict(
        type='RandomResize', scale=test_scale, ratio_range=(1.0, 1.15), keep_ratio=True
    ),
    # RandomCrop takes (height, width)
    dict(
        type='mnv2_mm.SegRandomCrop',
        crop_size=(input_size[1], input_size[0]),
        cat_max_ratio=0.95,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
# The hosts' inferencers look for LoadImageFromFile and LoadAnnotations by
# these very names.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=test_scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='mnv2_mm.CheckSegMask', num_classes=len(classes)),
    dict(type='PackSegInputs'),
]

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='images/train', seg_map_path='masks/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='images/val', seg_map_path='masks/val'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
