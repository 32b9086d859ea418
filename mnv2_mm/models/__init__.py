"""The networks; the parts for a host are there when it is installed.

A missing or broken host must not break the import: its names are then
registered as stand-ins that raise an InputError when they are built.
"""

from importlib import import_module
from typing import Any, NoReturn

from mnv2_mm.models.ablations import MobileNetV2Ablation
from mnv2_mm.models.baselines.mobilenet_v1 import MobileNetV1
from mnv2_mm.models.baselines.nasnet_a import NASNetA
from mnv2_mm.models.baselines.yolov2_network import Darknet19, YOLOv2Neck
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.registry import MODELS, TASK_UTILS
from mnv2_mm.utils.errors import InputError

#: For each host: our modules that need it, with the names that they register.
_HOSTED = {
    'mmdet': {
        'ssdlite.neck': 'SSDLiteNeck',
        'ssdlite.head': 'SSDLiteHead',
        'ssdlite.anchors': 'SSDLiteAnchorGenerator',
        'baselines.ssd_head': 'SSDHead',
        'baselines.yolov2_head': 'YOLOv2Head',
    },
    'mmseg': {
        'lite_aspp_head': 'LiteASPPHead',
        'multi_scale': 'MultiScaleSegmentor',
        'seg_loss': 'SegCrossEntropyLoss',
        'baselines.resnet_deeplab': 'DeepLabResNet',
    },
    'mmpretrain': {'dropout_cls_head': 'DropoutClsHead'},
}


def _stand_in(name: str, host: str, error: Exception) -> None:
    def build(**kwargs: Any) -> NoReturn:
        raise InputError(
            f'mnv2_mm.{name} needs {host}, which cannot be imported '
            f'({error}); `python -m mnv2_mm.check` prints how to fix it'
        )

    registry = TASK_UTILS if name == 'SSDLiteAnchorGenerator' else MODELS
    registry.register_module(name=name, module=build)


for _host, _modules in _HOSTED.items():
    try:
        import_module(f'{_host}.models')
    except (ImportError, RuntimeError) as _error:  # a torchvision that does not fit
        for _name in _modules.values():
            _stand_in(_name, _host, _error)
    else:
        for _module in _modules:
            import_module(f'mnv2_mm.models.{_module}')

__all__ = [
    'Darknet19',
    'MobileNetV1',
    'MobileNetV2',
    'MobileNetV2Ablation',
    'NASNetA',
    'YOLOv2Neck',
]
