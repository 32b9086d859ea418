"""The networks alone: MobileNetV2 by its other owners, and both DeepLabs."""

import functools
from collections.abc import Callable

import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mnv2_mm.api import init_model
from mnv2_mm.benchmark.pairs import PAUSE, Contestant, Part
from mnv2_mm.benchmark.peers import shipped_config
from mnv2_mm.benchmark.processes import FORMS, WARMUP, apart
from mnv2_mm.utils import compat

MMPRETRAIN = 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py'
MMSEG = 'mobilenet_v2/mobilenet-v2-d8_deeplabv3_4xb4-160k_ade20k-512x512.py'


def parts(threads: int) -> list[Part]:
    """Forward passes in eval mode, of one image; weights are random."""
    return [
        Part(
            'classification, 224 px, 1000 classes, network alone',
            classifiers(threads),
            5,
            pause=PAUSE,
            warmup=WARMUP,
        ),
        Part(
            "segmentation, 513 px, 21 classes, network alone: mmseg's has "
            'stride 8 and a full ASPP',
            segmentors(threads),
            pause=PAUSE,
            warmup=WARMUP,
        ),
    ]


def _host(scope: str, name: str, **head: object) -> nn.Module:
    """A host's own model, without what it would download."""
    cfg = shipped_config(scope, name)
    cfg.model.pretrained = None
    for part, values in head.items():
        cfg.model[part].update(values)
    init_default_scope(scope)
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def _ours(name: str, side: int, threads: int) -> list[Contestant]:
    """Ours, as it comes and in its fast forms, each in its process."""
    return [
        Contestant(
            f'mnv2_mm{form}',
            apart(functools.partial(_network, name, side, how), threads=threads),
        )
        for form, how in FORMS.items()
    ]


def _network(name: str, side: int, how: dict) -> Callable[[], object]:
    return _forward(lambda: init_model(name, **how), side)()


def _forward(
    build: Callable[[], nn.Module], side: int
) -> Callable[[], Callable[[], object]]:
    def prepare() -> Callable[[], object]:
        model = build().eval()
        x = torch.rand(1, 3, side, side)
        if hasattr(model, 'decode_head'):  # to the logits

            def whole() -> object:
                return model.decode_head(model.extract_feat(x))

        else:

            def whole() -> object:
                return model(x)

        def run() -> None:
            with torch.no_grad():
                whole()

        return run

    return prepare


def classifiers(threads: int) -> list[Contestant]:
    """MobileNetV2 1.0 of mmpretrain, torchvision, timm and here."""
    builders = {
        "mmpretrain's": lambda: _host('mmpretrain', MMPRETRAIN),
    }
    if compat.installed('torchvision'):

        def of_torchvision() -> nn.Module:
            from torchvision.models import mobilenet_v2

            return mobilenet_v2()

        builders["torchvision's"] = of_torchvision
    if compat.installed('timm'):

        def of_timm() -> nn.Module:
            from timm import create_model

            return create_model('mobilenetv2_100')

        builders["timm's"] = of_timm
    hosts = [Contestant(name, _forward(build, 224)) for name, build in builders.items()]
    return hosts + _ours('mnv2_in1k', 224, threads)


def segmentors(threads: int) -> list[Contestant]:
    """DeepLabv3 on MobileNetV2 of mmseg, and here with the light head."""
    head = dict(num_classes=21)

    def theirs() -> nn.Module:
        return _host('mmseg', MMSEG, decode_head=head, auxiliary_head=head)

    return [
        Contestant("mmseg's", _forward(theirs, 513)),
        *_ours('deeplabv3_mnv2_voc', 513, threads),
    ]
