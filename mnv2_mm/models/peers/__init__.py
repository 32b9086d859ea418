"""The networks that the paper's tables compare MobileNetV2 with.

Only those that no host has, and only in the form that the tables count.
``resnet_deeplab`` is not imported here: it needs mmseg (see
:mod:`mnv2_mm.models`).
"""

from mnv2_mm.models.peers.mobilenet_v1 import MobileNetV1
from mnv2_mm.models.peers.nasnet_a import NASNetA

__all__ = ['MobileNetV1', 'NASNetA']
