# Detection on your own boxes. `mnv2 data FOLDER --out data/mine` writes this file with
# the values of your data set in the next block; by hand, edit the block. The file
# inherits from no other one, so it trains in any folder.
#
# ---- changed most often -------------------------------------------------
data_root = 'data/my_set'  # images/ and annotations/*.json in COCO format
classes = ('cat', 'dog')
test_ann = 'annotations/val.json'
start = None  # a trained detector or an ImageNet network, None for random weights
# padding and pixels as the weights were trained
padding = 'same'
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
lite = True  # SSDLite, False for plain SSD
input_size = (300, 300)  # width, height
# default boxes: scales of the six levels and a last one, relative to the input
scales = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
reduce_lowest = True  # three boxes on the lowest level, 0.1 and 0.2 of the input
batch_size = 8
max_epochs = 40
val_interval = 2  # epochs
patience = 10  # evaluations without a gain, after which the training stops
lr = 0.002
warmup = 50  # steps
bn_momentum = 0.03  # of the running statistics of batch norm
ema_decay = 0.98  # of the average of the weights, which is evaluated
min_crop = 0.5  # smallest random crop, as a share of the sides
num_workers = 2
# -------------------------------------------------------------------------
data_help = 'Set data_root at the top of the config to the folder of the data set'

default_scope = 'mmdet'
norm_cfg = dict(type='BN', eps=1e-3, momentum=bn_momentum)
# smaller initial weights than TensorFlow's: they change more at the same learning rate
small = dict(type='TruncNormal', layer='Conv2d', std=0.03)
model = dict(
    _scope_='mmdet',
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=mean,
        std=std,
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
    backbone=dict(
        type='mnv2_mm.MobileNetV2',
        out_indices=('layer_15/expansion_output', 'layer_19'),
        padding=padding,
        norm_cfg=norm_cfg,
        init_cfg=small,
    ),
    neck=dict(
        type='mnv2_mm.SSDLiteNeck',
        in_channels=(576, 1280),
        use_depthwise=lite,
        padding=padding,
        norm_cfg=norm_cfg,
        init_cfg=small,
    ),
    bbox_head=dict(
        type='mnv2_mm.SSDLiteHead',
        num_classes=len(classes),
        in_channels=(576, 1280, 512, 256, 256, 128),
        use_depthwise=lite,
        kernel_size=3 if lite else 1,
        loss='softmax',
        anchor_generator=dict(
            type='mnv2_mm.SSDLiteAnchorGenerator',
            input_size=input_size,
            scales=scales,
            reduce_lowest=reduce_lowest,
        ),
        padding=padding,
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.001),
    ),
    test_cfg=dict(
        nms_pre=1000,
        score_thr=0.01,
        nms=dict(type='nms', iou_threshold=0.6),
        min_bbox_size=0,
        max_per_img=100,
    ),
)

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='mnv2_mm.MinIoURandomCrop',
        min_ious=(0.3, 0.5, 0.7, 0.9),
        min_crop_size=min_crop,
    ),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mnv2_mm.PhotoMetricDistortion'),
    dict(type='PackDetInputs'),
]
# the hosts' inferencers look for LoadImageFromFile by this very name
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
    persistent_workers=num_workers > 0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        filter_cfg=dict(filter_empty_gt=False),  # images without objects count too
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], ann_file=test_ann)
)
val_evaluator = dict(
    type='CocoMetric',
    ann_file=f'{data_root}/annotations/val.json',
    metric='bbox',
    classwise=True,
)
test_evaluator = dict(val_evaluator, ann_file=f'{data_root}/{test_ann}')

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=val_interval
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, dwconv_decay_mult=0),
    clip_grad=dict(max_norm=10, norm_type=2),
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
    dict(
        type='EarlyStoppingHook',
        monitor='coco/bbox_mAP',
        min_delta=0.001,
        patience=patience,
    ),
]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='mnv2_mm.AtomicCheckpointHook',
        interval=val_interval,
        max_keep_ckpts=3,
        save_best='coco/bbox_mAP',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='DetVisualizationHook'),
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
    type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer'
)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = start
resume = False
