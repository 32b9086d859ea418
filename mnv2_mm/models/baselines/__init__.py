"""Networks that the paper's tables compare MobileNetV2 with and no host has.

``resnet_deeplab`` and ``yolov2_head`` are not imported here, since they need
mmseg and mmdet; see :mod:`mnv2_mm.models`.
"""

from mnv2_mm.models.baselines.darknet19 import Darknet19
from mnv2_mm.models.baselines.mobilenet_v1 import MobileNetV1
from mnv2_mm.models.baselines.nasnet_a import NASNetA
from mnv2_mm.models.baselines.yolov2_neck import YOLOv2Neck

__all__ = ['Darknet19', 'MobileNetV1', 'NASNetA', 'YOLOv2Neck']
