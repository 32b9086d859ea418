# The generated sample set for classification: one folder per class.
# Made by `python tools/make_sample_data.py`.

# ---- changed most often -------------------------------------------------
data_root = 'data/sample/'
# the folder names in alphabetical order, which is how they are numbered
classes = ('circle', 'ring', 'square', 'star', 'triangle')
input_size = 64  # side of what the network sees
batch_size = 32
num_workers = 1
# -------------------------------------------------------------------------
data_help = 'Make it (15 seconds): mnv2 sample'
dataset_type = 'CustomDataset'
metainfo = dict(classes=classes)

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=input_size, crop_ratio_range=(0.8, 1)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomFlip', prob=0.5, direction='vertical'),
    dict(type='PackInputs'),
]
# The hosts' inferencers look for LoadImageFromFile by this very name.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='classify/train',
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='classify/val',
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
