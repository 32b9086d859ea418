# Table 6, row SSD512: 36.1M parameters, 99.5B multiply-adds (98.6G counted).
_base_ = [
    '../_base_/models/ssd512_vgg16.py',
    '../_base_/datasets/coco_ssd_512.py',
    '../_base_/schedules/ssd_120e.py',
    '../_base_/runtime/det.py',
]
