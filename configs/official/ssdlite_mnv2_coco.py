# Google's ssdlite_mobilenet_v2_coco of the Object Detection API's model zoo,
# at the release's input size of 300. For its checkpoint or frozen graph:
#   python tools/convert_weights.py FOLDER OUT.pth \
#     --config official/ssdlite_mnv2_coco
# which leaves out the ten ids of the release's 90 that COCO never used.
_base_ = '../ssdlite_mnv2_coco.py'

model = dict(bbox_head=dict(anchor_generator=dict(input_size=300)))
input_size = (300, 300)  # width, height
train_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=input_size) if 'scale' in step else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
