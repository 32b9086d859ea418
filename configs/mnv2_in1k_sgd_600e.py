# MobileNetV2 on ImageNet with today's recipe: the network of
# configs/mnv2_in1k.py, whose weights fit here and the other way round.
#
# Why: the paper's RMSProp was made for 16 asynchronous workers. Large batches,
# a cosine, mixed images and an average of the weights are today's way, and
# this is one of them that was tried on this very network: the recipe of
# torchvision's second weights (pull request 5560 of pytorch/vision), whose
# input is 176 in training and 224 of 232 in evaluation. RandAugment with one
# policy of a uniform strength stands for its TrivialAugment, which mmpretrain
# does not have. Not trained here.
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
        augments=[
            dict(type='Mixup', alpha=0.2),
            dict(type='CutMix', alpha=1.0),
        ]
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
# of 8 processes; of another number give --auto-scale-lr
train_dataloader = dict(
    batch_size=128,
    sampler=dict(_delete_=True, type='RepeatAugSampler', num_repeats=4),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
