# Mobile DeepLabv3 on PASCAL VOC 2012: the row "V2*, output stride 16, no
# ASPP" of Table 7 (2.11M parameters, 75.32 mIoU published, from a model trained
# on ImageNet and COCO; this config starts from random weights unless load_from
# or backbone.init_cfg names a file).
# Source of the numbers: see the comment of each base.
#
# Changed most often:
#   train with weights of the ImageNet classifier
#     model.backbone.init_cfg.type=Pretrained
#     model.backbone.init_cfg.checkpoint=FILE
#   ASPP, output stride, width, classes: _base_/models/deeplabv3_mnv2.py
#   data, crop: _base_/datasets/voc_seg.py
#   length: train_cfg.max_iters with param_scheduler.PolyLR.end
_base_ = [
    '_base_/models/deeplabv3_mnv2.py',
    '_base_/datasets/voc_seg.py',
    '_base_/schedules/deeplabv3_30k.py',
    '_base_/runtime/seg.py',
]
