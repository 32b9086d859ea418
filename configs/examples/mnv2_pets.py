# Own data, classification: MobileNetV2 on 735 photos of 37 breeds of cats and
# dogs, from random weights, about eight minutes on two CPU cores. Twenty images
# per breed are too few for a good classifier from random weights;
# mnv2_pets_finetune.py starts from trained ones.
#
# The data is any folder with these files; the class names are the folder
# names. For your own data edit the next two values.
#   data_root/{train,val}/<class>/*.jpg
# Data elsewhere: make data/pets_mini a link to it (ln -s FOLDER
# data/pets_mini).
data_root = 'data/pets_mini/'
classes = (
    'Abyssinian',
    'Bengal',
    'Birman',
    'Bombay',
    'British_Shorthair',
    'Egyptian_Mau',
    'Maine_Coon',
    'Persian',
    'Ragdoll',
    'Russian_Blue',
    'Siamese',
    'Sphynx',
    'american_bulldog',
    'american_pit_bull_terrier',
    'basset_hound',
    'beagle',
    'boxer',
    'chihuahua',
    'english_cocker_spaniel',
    'english_setter',
    'german_shorthaired',
    'great_pyrenees',
    'havanese',
    'japanese_chin',
    'keeshond',
    'leonberger',
    'miniature_pinscher',
    'newfoundland',
    'pomeranian',
    'pug',
    'saint_bernard',
    'samoyed',
    'scottish_terrier',
    'shiba_inu',
    'staffordshire_bull_terrier',
    'wheaten_terrier',
    'yorkshire_terrier',
)  # in the order of the sorted folder names, capitals first

_base_ = ['../_base_/models/mnv2_cls.py', '../_base_/runtime/cls.py']

# ---- changed most often -------------------------------------------------
max_epochs = 50
batch_size = 32
input_size = 128
lr = 0.002
# -------------------------------------------------------------------------
data_help = """A classification set in data/pets_mini, a folder per class:
  data/pets_mini/train/<class>/*.jpg
  data/pets_mini/val/<class>/*.jpg
Elsewhere? ln -s FOLDER data/pets_mini"""

# For a short training on few images: half the width, and BN statistics that
# adapt within tens of steps (momentum 0.1). TF's values are for long training.
model = dict(
    backbone=dict(widen_factor=0.5, norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1)),
    head=dict(num_classes=len(classes)),
)

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=input_size, crop_ratio_range=(0.25, 1.0)),
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
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        metainfo=dict(classes=classes),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='val',
        metainfo=dict(classes=classes),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, dwconv_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=3,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=lr / 100,
        begin=3,
        end=max_epochs,
        T_max=max_epochs - 3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=batch_size)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=5),
    memory_format=dict(type='mnv2_mm.ChannelsLastHook'),
)
