# Own data, segmentation: Mobile DeepLabv3 on 240 photos of cats and dogs,
# from random weights, about eight minutes on two CPU cores.
#
# The data is any folder with these files (here 299x299, labels 0 background,
# 1 cat, 2 dog, 255 ignored); for your own data edit the next four values.
#   data_root/img_dir/{train,val}/*.jpg
#   data_root/ann_dir/{train,val}/*.png   same names, one label a pixel
# Data elsewhere: make data/pets_seg a link to it (ln -s FOLDER data/pets_seg).
data_root = 'data/pets_seg/'
classes = ('background', 'cat', 'dog')
palette = [[0, 0, 0], [220, 20, 60], [0, 128, 255]]
crop = (161, 161)  # (height, width), best 16 n + 1

_base_ = ['../_base_/models/deeplabv3_mnv2.py', '../_base_/runtime/seg.py']

# ---- changed most often -------------------------------------------------
max_iters = 1000
batch_size = 16
lr = 0.002
# -------------------------------------------------------------------------
data_help = """A segmentation set in data/pets_seg (see the top of the config):
  data/pets_seg/img_dir/{train,val}/*.jpg
  data/pets_seg/ann_dir/{train,val}/*.png, labels 0, 1, 2 and 255 (ignored)
Elsewhere? ln -s FOLDER data/pets_seg"""

# For a short training on few images: half the width, BN statistics that adapt
# within tens of steps (momentum 0.1), and He's initialization, with which one
# learning rate suits narrow and wide layers. TF's values are for long training.
model = dict(
    data_preprocessor=dict(size=crop),
    backbone=dict(
        widen_factor=0.5,
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1),
        init_cfg=dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
    ),
    decode_head=dict(
        in_channels=160,
        num_classes=len(classes),
        norm_cfg=dict(type='BN', eps=1e-5, momentum=0.1),
    ),
)

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations'),
    dict(type='mnv2_mm.CheckSegMask', num_classes=len(classes)),
    dict(
        type='RandomResize', scale=crop[::-1], ratio_range=(0.75, 2.0), keep_ratio=True
    ),
    dict(type='mnv2_mm.SegRandomCrop', crop_size=crop),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mnv2_mm.SegPhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=crop[::-1], keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='mnv2_mm.CheckSegMask', num_classes=len(classes)),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(129, 129), keep_ratio=True),
                dict(type='Resize', scale=(161, 161), keep_ratio=True),
                dict(type='Resize', scale=(193, 193), keep_ratio=True),
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset',
        data_root=data_root,
        metainfo=dict(classes=classes, palette=palette),
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root=data_root,
        metainfo=dict(classes=classes, palette=palette),
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, dwconv_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=50, end=max_iters
    ),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=200)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=batch_size)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=200),
    memory_format=dict(type='mnv2_mm.ChannelsLastHook'),
)
