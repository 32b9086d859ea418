# Google's Mobile Object Localizer: SSDLite on MobileNetV2 0.75 at 192 px, which finds
# objects of any kind. One sigmoid class slot, none for the background; the width
# multiplier shrinks layer_19 and the extra levels too. For converted weights: see
# metafile.yml, or tools/convert_weights.py.
_base_ = '../ssdlite_mnv2_coco.py'

# To evaluate or to fine-tune it: a set in COCO format whose one category is
# named `object`, at this place.
data_root = 'data/objects/'
data_help = (
    'Make a set in COCO format whose one category is named "object": '
    'data/objects/images/*.jpg and data/objects/annotations/'
    '{train,val}.json; or set data_root to where yours is'
)

model = dict(
    backbone=dict(widen_factor=0.75),
    neck=dict(in_channels=(432, 960), widen_factor=0.75),
    bbox_head=dict(
        num_classes=1,
        in_channels=(432, 960, 384, 192, 192, 96),
        background_slot=False,
        anchor_generator=dict(input_size=192),
    ),
)
input_size = (192, 192)  # width, height
train_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.test_pipeline
]
dataset = dict(
    data_root=data_root,
    metainfo=dict(classes=('object',), palette=[(220, 20, 60)]),
    data_prefix=dict(img='images/'),
)
train_dataloader = dict(
    dataset=dict(ann_file='annotations/train.json', pipeline=train_pipeline, **dataset)
)
val_dataloader = dict(
    dataset=dict(ann_file='annotations/val.json', pipeline=test_pipeline, **dataset)
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
