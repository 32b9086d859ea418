# ImageNet-1k (ILSVRC 2012): 1 281 167 training and 50 000 validation images.
# Source of the numbers: slim's Inception preprocessing in its fast mode, with
# which the official weights were trained and evaluated. Training: a crop of
# 5 % to 100 % of the area (but see DistortedCrop) with an aspect ratio of 0.75
# to 1.33, resized to a square; flip; brightness and saturation in random
# order. Evaluation: the middle 87.5 % of both sides, resized to a square.
# Other published numbers use the middle square of 87.5 % of the short side:
#   dict(type='EfficientNetCenterCrop', crop_size=224, crop_padding=32,
#        interpolation='bilinear')

# ---- changed most often -------------------------------------------------
data_root = 'data/imagenet'
# Side in pixels; the paper has 96, 128, 160, 192 and 224. An option of the
# command line: train_dataloader.dataset.pipeline.DistortedCrop.scale=192
#   val_dataloader.dataset.pipeline.Resize.scale=192
#   test_dataloader.dataset.pipeline.Resize.scale=192
input_size = 224
batch_size = 96  # the learning rate is for 96 in all, see --auto-scale-lr
num_workers = 8
# -------------------------------------------------------------------------
data_help = """ImageNet-1k (ILSVRC 2012), about 150 GB.
1. An account at https://image-net.org gives ILSVRC2012_img_train.tar and
   ILSVRC2012_img_val.tar.
2. Unpack them into one folder a class (wnid):
     data/imagenet/train/n01440764/*.JPEG ... 1000 folders
     data/imagenet/val/n01440764/*.JPEG   ... 1000 folders
   The validation archive is flat: move its images into class folders, or
   keep them flat in val/ with lines "FILE CLASS_INDEX" in
   data/imagenet/meta/val.txt (then meta/train.txt likewise).
Elsewhere? Make data/imagenet a link to it."""

train_pipeline = [
    dict(type='mnv2_mm.LoadImage'),
    dict(
        type='mnv2_mm.DistortedCrop',
        scale=input_size,
        area_range=(0.05, 1.0),
        aspect_ratio_range=(0.75, 1.33),
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='mnv2_mm.BrightnessSaturation',
        max_brightness=32.0 / 255.0,
        saturation_range=(0.5, 1.5),
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mnv2_mm.CentralCrop', fraction=0.875),
    dict(type='Resize', scale=input_size, keep_ratio=False),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ImageNet', data_root=data_root, split='train', pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageNet', data_root=data_root, split='val', pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
