# The detector of MediaPipe's Objectron: Google's plain SSD on MobileNetV2 at 300 px,
# trained on Open Images V4 for 23 classes. Extra levels are full 3x3 convolutions,
# predictors 1x1 ones. For converted weights: see metafile.yml, or
# tools/convert_weights.py.
_base_ = [
    '../_base_/models/ssdlite_mnv2.py',
    '../_base_/datasets/coco_det_r300.py',
    '../_base_/schedules/ssdlite_200k.py',
    '../_base_/runtime/det.py',
]

# To evaluate or to fine-tune it: a set in COCO format with these categories, or a
# part of them, at this place.
data_root = 'data/openimages/'
data_help = (
    'Make a set in COCO format whose categories are among those of '
    'configs/official/ssd_mnv2_openimages.py: data/openimages/images/*.jpg and '
    'data/openimages/annotations/{train,val}.json; or set data_root to where yours is'
)

classes = (
    'Bicycle', 'Boot', 'Laptop', 'Person', 'Chair', 'Cattle', 'Desk', 'Cat',
    'Computer mouse', 'Computer monitor', 'Box', 'Mug', 'Coffee cup',
    'Stationary bicycle', 'Table', 'Bottle', 'High heels', 'Vehicle', 'Footwear',
    'Dog', 'Book', 'Camera', 'Car',
)  # fmt: skip
model = dict(
    neck=dict(use_depthwise=False),
    bbox_head=dict(
        num_classes=len(classes),
        use_depthwise=False,
        kernel_size=1,
        anchor_generator=dict(input_size=300),
    ),
)
dataset = dict(
    data_root=data_root,
    # colors spread over the 23 classes
    metainfo=dict(
        classes=classes,
        palette=[
            (n * 67 % 256, (n * 131 + 80) % 256, (n * 29 + 160) % 256)
            for n in range(len(classes))
        ],
    ),
    data_prefix=dict(img='images/'),
)
train_dataloader = dict(dataset=dict(ann_file='annotations/train.json', **dataset))
val_dataloader = dict(dataset=dict(ann_file='annotations/val.json', **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
