# Table 5, row SSD: 14.8M parameters and 1.25B multiply-adds in the extra
# layers and predictors, whose 3x3 convolutions are full ones.
_base_ = '../ssdlite_mnv2_coco.py'

model = dict(neck=dict(use_depthwise=False), bbox_head=dict(use_depthwise=False))
