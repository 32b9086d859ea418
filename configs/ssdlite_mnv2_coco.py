# SSDLite 320 on MobileNetV2 1.0, COCO (Table 6, last row), trained like the
# official ssdlite_mobilenet_v2_coco.config; _base_/schedules/ssdlite_200k.py
# says what is ours. From random weights with stronger augmentation:
# configs/ssdlite_mnv2_coco_sgd_600e.py.
#
# Changed most often:
#   width: model.backbone.widen_factor, model.neck.widen_factor and the
#     channels of both taps (the error message names them)
#   input size: see _base_/datasets/coco_det.py
#   own data: mnv2 data, or configs/examples/ssdlite_own_data.py
_base_ = [
    '_base_/models/ssdlite_mnv2.py',
    '_base_/datasets/coco_det.py',
    '_base_/schedules/ssdlite_200k.py',
    '_base_/runtime/det.py',
]

# TF trains on images without an object too; mmdet would leave them out.
train_dataloader = dict(dataset=dict(filter_cfg=dict(filter_empty_gt=False)))
