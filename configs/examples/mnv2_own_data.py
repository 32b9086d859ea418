# Classification of your own images. `mnv2 data FOLDER --out data/mine` writes this file
# with the values of your data set in the next block; by hand, edit the block. The file
# inherits from no other one, so it trains in any folder.
#
# ---- changed most often -------------------------------------------------
data_root = 'data/my_set'  # {train,val}/CLASS/*.jpg
classes = ('cat', 'dog')  # in the order of the sorted folder names, capitals first
test_split = 'val'
start = None  # an ImageNet network, None for random weights
# padding and pixels as the weights were trained
padding = 'same'
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
input_size = 224
batch_size = 32
max_epochs = 20
val_interval = 1  # epochs
patience = 10  # evaluations without a gain, after which the training stops
lr = 0.002
backbone_lr = 0.1  # share of lr for the trained part, 1 with random weights
warmup = 20  # steps
bn_momentum = 0.03  # of the running statistics of batch norm
ema_decay = 0.98  # of the average of the weights, which is evaluated
min_crop = 0.25  # smallest random crop, as a share of the area
num_workers = 2
# -------------------------------------------------------------------------
data_help = 'Set data_root at the top of the config to the folder of the data set'

default_scope = 'mmpretrain'
topk = (1, 5) if len(classes) >= 5 else (1,)
model = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', mean=mean, std=std, to_rgb=True),
    backbone=dict(
        type='mnv2_mm.MobileNetV2',
        out_indices=('layer_19',),
        padding=padding,
        norm_cfg=dict(type='BN', eps=1e-3, momentum=bn_momentum),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mnv2_mm.DropoutClsHead',
        num_classes=len(classes),
        in_channels=1280,
        dropout_ratio=0.2,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1),
        topk=topk,
        # begins with nearly equal scores
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01),
    ),
)

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=input_size, crop_ratio_range=(min_crop, 1.0)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, backend='cv2'
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='EfficientNetCenterCrop',
        crop_size=input_size,
        crop_padding=input_size // 7,  # 87.5 % of the short side
        interpolation='bilinear',
    ),
    dict(type='PackInputs'),
]
dataset = dict(
    type='CustomDataset',
    data_root=data_root,
    metainfo=dict(classes=classes),
    extensions=('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'),
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, data_prefix='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, data_prefix='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], data_prefix=test_split)
)
val_evaluator = dict(type='Accuracy', topk=topk)
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
    dict(
        type='EarlyStoppingHook',
        monitor='accuracy/top1',
        min_delta=0.1,
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
        save_best='accuracy/top1',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
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
    type='UniversalVisualizer', vis_backends=vis_backends, name='visualizer'
)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = start
resume = False
