"""The networks; the parts for a host are there when it is installed.

A missing or broken host must not break the import: its names are then
registered as stand-ins that raise an InputError when they are built.
"""

from importlib import import_module
from typing import NoReturn

from mnv2_mm.models.ablations import MobileNetV2Ablation
from mnv2_mm.models.baselines import Darknet19, MobileNetV1, NASNetA, YOLOv2Neck
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.registry import MODELS, TASK_UTILS
from mnv2_mm.utils.errors import InputError

#: For each host: our modules that need it, with the registry and the names
#: that they register.
_HOSTED = {
    'mmdet': [
        ('ssdlite.neck', MODELS, ['SSDLiteNeck']),
        ('ssdlite.head', MODELS, ['SSDLiteHead']),
        ('ssdlite.anchors', TASK_UTILS, ['SSDLiteAnchorGenerator']),
        ('baselines.ssd_head', MODELS, ['SSDHead']),
        ('baselines.yolov2_head', MODELS, ['YOLOv2Head']),
    ],
    'mmseg': [
        ('lite_aspp_head', MODELS, ['LiteASPPHead']),
        ('seg_loss', MODELS, ['SegCrossEntropyLoss']),
        ('baselines.resnet_deeplab', MODELS, ['DeepLabResNet']),
    ],
    'mmpretrain': [('dropout_cls_head', MODELS, ['DropoutClsHead'])],
}


def _stand_in(registry, name: str, host: str, error: Exception) -> None:
    def build(*args: object, **kwargs: object) -> NoReturn:
        raise InputError(
            f'mnv2_mm.{name} needs {host}, which cannot be imported '
            f'({error}); `python -m mnv2_mm.check` prints how to fix it'
        )

    registry.register_module(name=name, module=build)


for _host, _modules in _HOSTED.items():
    try:
        import_module(f'{_host}.models')
    except (ImportError, RuntimeError) as _error:  # a torchvision that does not fit
        for _, _registry, _names in _modules:
            for _name in _names:
                _stand_in(_registry, _name, _host, _error)
    else:
        for _module, _, _ in _modules:
            import_module(f'mnv2_mm.models.{_module}')

__all__ = [
    'Darknet19',
    'MobileNetV1',
    'MobileNetV2',
    'MobileNetV2Ablation',
    'NASNetA',
    'YOLOv2Neck',
]
