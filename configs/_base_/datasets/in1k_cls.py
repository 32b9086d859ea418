# ImageNet-1k (ILSVRC 2012): 1 281 167 training and 50 000 validation pictures.
# Source of the numbers: the official code's Inception preprocessing in its
# fast form: crop of 5 % to 100 % of the area, aspect 3/4 to 4/3, resized to
# 224 with its aspect lost; flip; brightness and saturation.
# What differs: its brightness is an addition of up to 32/255 and here a
# factor of up to that. In validation it takes the middle 87.5 % of both
# sides and squeezes them to a square; here the middle square of 87.5 % of
# the short side, the crop that other published numbers use.
#
# Often changed: data_root; batch_size (the schedule's learning rate is for
# 96 in all, see --auto-scale-lr); the input size, 96 128 160 192 or 224 in
# the paper: scale of RandomResizedCrop and crop_size of the centre crop.
data_root = 'data/imagenet'
data_help = """ImageNet-1k (ILSVRC 2012), about 150 GB.
1. An account at https://image-net.org gives ILSVRC2012_img_train.tar and
   ILSVRC2012_img_val.tar.
2. Unpack them into one folder a class (wnid):
     data/imagenet/train/n01440764/*.JPEG ... 1000 folders
     data/imagenet/val/n01440764/*.JPEG   ... 1000 folders
   The validation archive is flat: move its pictures into class folders, or
   keep them flat in val/ with lines "FILE CLASS_INDEX" in
   data/imagenet/meta/val.txt (then meta/train.txt likewise).
Elsewhere? Make data/imagenet a link to it."""

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.05, 1.0),
        aspect_ratio_range=(3.0 / 4.0, 4.0 / 3.0),
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='ColorJitter',
        brightness=32.0 / 255.0,
        saturation=0.5,
        backend='cv2',
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    # 224 / (224 + 32) = 87.5 % of the short side, then resized to 224
    dict(
        type='EfficientNetCenterCrop',
        crop_size=224,
        crop_padding=32,
        interpolation='bilinear',
    ),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=96,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ImageNet',
        data_root=data_root,
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=96,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageNet',
        data_root=data_root,
        split='val',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
