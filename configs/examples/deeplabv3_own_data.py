# Segmentation on your own masks. `mnv2 data FOLDER --out data/mine` writes this file
# with the values of your data set in the next block; by hand, edit the block. The file
# inherits from no other one, so it trains in any folder.
#
# ---- changed most often -------------------------------------------------
data_root = 'data/my_set'  # img_dir/{train,val}/ and ann_dir/{train,val}/*.png
classes = ('background', 'cat', 'dog')
palette = [[0, 0, 0], [220, 20, 60], [0, 128, 255]]
img_suffix = '.jpg'
test_split = 'val'
start = None  # a trained DeepLab or an ImageNet network, None for random weights
# padding and pixels as the weights were trained
padding = 'same'
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
crop = (257, 257)  # height, width, best 16 n + 1
batch_size = 16
max_epochs = 60
val_interval = 3  # epochs
patience = 10  # evaluations without a gain, after which the training stops
lr = 0.002
backbone_lr = 0.1  # share of lr for the trained part, 1 with random weights
warmup = 50  # steps
bn_momentum = 0.03  # of the running statistics of batch norm
ema_decay = 0.98  # of the average of the weights, which is evaluated
min_scale = 0.75  # smallest random scale of an image
num_workers = 2
# -------------------------------------------------------------------------
data_help = 'Set data_root at the top of the config to the folder of the data set'

default_scope = 'mmseg'
model = dict(
    _scope_='mmseg',
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=mean,
        std=std,
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop,
    ),
    backbone=dict(
        type='mnv2_mm.MobileNetV2',
        out_indices=('layer_18',),
        output_stride=16,
        padding=padding,
        norm_cfg=dict(type='BN', eps=1e-3, momentum=bn_momentum),
        init_cfg=dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
    ),
    decode_head=dict(
        type='mnv2_mm.LiteASPPHead',
        in_channels=320,
        channels=256,
        in_index=0,
        atrous_rates=None,
        dropout_ratio=0.1,
        num_classes=len(classes),
        norm_cfg=dict(type='BN', eps=1e-5, momentum=bn_momentum),
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations'),
    dict(type='mnv2_mm.CheckSegMask', num_classes=len(classes)),
    dict(
        type='RandomResize',
        scale=crop[::-1],
        ratio_range=(min_scale, 2.0),
        keep_ratio=True,
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
dataset = dict(
    type='BaseSegDataset',
    data_root=data_root,
    metainfo=dict(classes=classes, palette=palette),
    img_suffix=img_suffix,
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'],
        data_prefix=dict(
            img_path=f'img_dir/{test_split}', seg_map_path=f'ann_dir/{test_split}'
        ),
    ),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=val_interval
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0,
        bias_decay_mult=0,
        dwconv_decay_mult=0,
        custom_keys=dict(backbone=dict(lr_mult=backbone_lr)),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=batch_size)
custom_hooks = [
    dict(type='mnv2_mm.UnfuseConvBNHook'),  # of weights from TFLite files
    dict(
        type='EMAHook',
        ema_type='mnv2_mm.TFExponentialMovingAverage',
        decay=ema_decay,
        priority=49,
    ),
    dict(type='EarlyStoppingHook', monitor='mIoU', min_delta=0.1, patience=patience),
]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='mnv2_mm.AtomicCheckpointHook',
        interval=val_interval,
        max_keep_ckpts=3,
        save_best='mIoU',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
    guard=dict(type='mnv2_mm.CheckpointGuardHook'),
    exact_resume=dict(type='mnv2_mm.ExactResumeHook'),
    finite_loss=dict(type='mnv2_mm.FiniteLossHook'),
    progress=dict(type='mnv2_mm.ProgressHook'),
    memory_format=dict(type='mnv2_mm.ChannelsLastHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0, deterministic=False)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer'
)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = start
resume = False
