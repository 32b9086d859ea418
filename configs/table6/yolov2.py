# Table 6, row YOLOv2, at 416x416: 50.7M parameters, 17.5B multiply-adds. No
# one network has both; see _base_/models/yolov2.py.
_base_ = [
    '../_base_/models/yolov2.py',
    '../_base_/datasets/coco_yolo_416.py',
    '../_base_/schedules/yolov2_500k.py',
    '../_base_/runtime/det.py',
]
