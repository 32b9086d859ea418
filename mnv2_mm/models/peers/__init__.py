"""The networks that the paper's tables compare with and the hosts lack."""

from mnv2_mm.models.peers.darknet19 import Darknet19
from mnv2_mm.models.peers.yolov2_neck import YOLOv2Neck

__all__ = ['Darknet19', 'YOLOv2Neck']
