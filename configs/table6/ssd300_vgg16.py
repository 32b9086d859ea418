# Table 6, row SSD300: 34.3M parameters (the paper repeats SSD512's 36.1M),
# 34.4G multiply-adds (35.2B).
_base_ = [
    '../_base_/models/ssd300_vgg16.py',
    '../_base_/datasets/coco_ssd.py',
    '../_base_/schedules/ssd_120e.py',
    '../_base_/runtime/det.py',
]
