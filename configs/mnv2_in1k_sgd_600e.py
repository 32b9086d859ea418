# MobileNetV2 on ImageNet, SGD for 600 epochs: the network of
# configs/mnv2_in1k.py, so the weights of one fit the other.
#
# Why: the paper's RMSProp was made for 16 asynchronous workers. Today large
# batches, a cosine schedule, mixed images and an average of the weights are
# usual. This recipe was used for this network: it is that of torchvision's
# second weights (pull request 5560 of pytorch/vision), with an input of 176 in
# training and a crop of 224 out of 232 in evaluation. RandAugment with one
# policy of uniform strength replaces its TrivialAugment, which mmpretrain
# lacks. Not trained here.
_base_ = [
    '_base_/models/mnv2_cls.py',
    '_base_/datasets/in1k_cls.py',
    '_base_/schedules/in1k_sgd_600e.py',
    '_base_/runtime/cls.py',
]

model = dict(
    # mixed images have mixed labels: for your classes change this along
    # with model.head.num_classes
    data_preprocessor=dict(num_classes=1000),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)]
    ),
)
train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=176),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=1,
        total_level=10,
        magnitude_level=10,
        magnitude_std='inf',
    ),
    dict(type='RandomErasing', erase_prob=0.1, max_area_ratio=1.0 / 3.0),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=232, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
# for 8 processes; with another number use --auto-scale-lr
train_dataloader = dict(
    batch_size=128,
    sampler=dict(_delete_=True, type='RepeatAugSampler', num_repeats=4),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
