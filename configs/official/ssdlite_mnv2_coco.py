# Google's ssdlite_mobilenet_v2_coco of the Object Detection API's model zoo,
# at the release's input size of 300. For converted weights: see metafile.yml, or
# tools/convert_weights.py, which leaves out the ten ids of the release's 90 that
# COCO never used.
_base_ = [
    '../_base_/models/ssdlite_mnv2.py',
    '../_base_/datasets/coco_det_r300.py',
    '../_base_/schedules/ssdlite_200k.py',
    '../_base_/runtime/det.py',
]

model = dict(bbox_head=dict(anchor_generator=dict(input_size=300)))
