# PASCAL VOC 2012 with the additional masks of SBD: train_aug, 10582 images
# in training and 1449 in validation.
# Source of the numbers: the flags and defaults of the DeepLab code: scale 0.5
# to 2.0 in steps of 0.25, crop 513, padded below and on the right with the
# mean (in floats: 127.5 is the zero of the network) and the ignored label,
# then flip; no other augmentation.
# What differs: a test image is resized to a longer side of 513 (VOC's are
# 500), so that any image works; the DeepLab code pads it to 513x513.

# ---- changed most often -------------------------------------------------
data_root = 'data/VOCdevkit/VOC2012'
crop_size = (513, 513)  # (height, width), also model.data_preprocessor.size
batch_size = 16  # the learning rate is for 16 in all, see --auto-scale-lr
num_workers = 4
# -------------------------------------------------------------------------
data_help = """PASCAL VOC 2012, about 3.9 GB unpacked.
1. VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
   unpacked into data/, so that there is
     data/VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}
2. The additional masks: benchmark.tgz of the Semantic Boundaries Dataset
   (Hariharan et al. 2011) unpacked into data/VOCdevkit/VOCaug, then
   mmsegmentation's tools/dataset_converters/voc_aug.py:
     python voc_aug.py data/VOCdevkit data/VOCdevkit/VOCaug --nproc 8
   which makes SegmentationClassAug/ and ImageSets/Segmentation/aug.txt in
   data/VOCdevkit/VOC2012.
Elsewhere? Make data/VOCdevkit a link to it."""

train_pipeline = [
    dict(type='mnv2_mm.LoadImage', to_float32=True),
    dict(type='LoadAnnotations'),
    dict(type='mnv2_mm.CheckSegMask', num_classes=21),
    dict(type='mnv2_mm.RandomScaleStep', min_scale=0.5, max_scale=2.0, step=0.25),
    dict(type='mnv2_mm.SegRandomCrop', crop_size=crop_size),
    dict(
        type='Pad',
        size=crop_size[::-1],
        pad_val=dict(img=(127.5, 127.5, 127.5), seg=255),
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mnv2_mm.Contiguous'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(513, 513), keep_ratio=True),
    # after Resize: the mask keeps its size, predictions are resized to it
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
# MF of Table 7: 0.5 to 1.75 of 513 in steps of 0.25, int(512 * s + 1), each
# with its mirror image; SegTTAModel averages the softmax of the 12.
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(size, size), keep_ratio=True)
                for size in (257, 385, 513, 641, 769, 897)
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
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='PascalVOCDataset',
                data_root=data_root,
                data_prefix=dict(
                    img_path='JPEGImages', seg_map_path='SegmentationClass'
                ),
                ann_file='ImageSets/Segmentation/train.txt',
                pipeline=train_pipeline,
            ),
            dict(
                type='PascalVOCDataset',
                data_root=data_root,
                data_prefix=dict(
                    img_path='JPEGImages', seg_map_path='SegmentationClassAug'
                ),
                ann_file='ImageSets/Segmentation/aug.txt',
                pipeline=train_pipeline,
            ),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='PascalVOCDataset',
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
