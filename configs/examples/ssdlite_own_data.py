# Own data, detection: a set in COCO format. Edit three lines; the number of
# classes of the head follows `classes`.
_base_ = '../ssdlite_mnv2_coco.py'

# ---- the three lines ----------------------------------------------------
data_root = 'data/my_set/'
classes = ('cat', 'dog')
train_ann, val_ann = 'annotations/train.json', 'annotations/val.json'
# -------------------------------------------------------------------------
images = 'images/'  # folder of the images below data_root
data_help = (
    'Edit the three lines at the top of configs/examples/ssdlite_own_data.py: '
    'data_root, classes and the annotation files (COCO format)'
)

model = dict(bbox_head=dict(num_classes=len(classes)))
dataset = dict(
    data_root=data_root, metainfo=dict(classes=classes), data_prefix=dict(img=images)
)
train_dataloader = dict(dataset=dict(ann_file=train_ann, **dataset))
val_dataloader = dict(dataset=dict(ann_file=val_ann, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + val_ann)
test_evaluator = val_evaluator
