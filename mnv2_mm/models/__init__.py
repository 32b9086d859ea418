"""The networks; each host's part is there when the host is installed.

A plug-in must not die because one of three hosts is missing or broken: its
names are then registered as stand-ins that say so when they are built.
"""

from importlib import import_module

from mnv2_mm.models.baselines import (
    Darknet19,
    MobileNetV1,
    NASNetA,
    YOLOv2Neck,
)
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.registry import MODELS, TASK_UTILS
from mnv2_mm.utils.errors import InputError

#: Per host: its import name, its package on the index, and for each of our
#: modules that needs it the registry and the names registered there.
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
    def build(*args, **kwargs):
        raise InputError(
            f'mnv2_mm.{name} needs {host}, which cannot be imported '
            f'({error}); `python -m mnv2_mm.check` prints the remedy'
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
    'NASNetA',
    'YOLOv2Neck',
]
