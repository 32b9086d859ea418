"""Prediction against the hosts' own: a photo, its last part, networks alone."""

from collections.abc import Callable
from functools import partial

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.registry import MODELS, init_default_scope
from timm import create_model
from torch import nn
from torchvision.models import mobilenet_v2

from mnv2_mm.api import init_model
from mnv2_mm.benchmark.core import Case, Options, Step, case_group
from mnv2_mm.benchmark.detectors import (
    OURS,
    PHOTO_GROUP,
    PREDICTIONS,
    SIDE,
    VARIANTS,
    WARMUP,
    prediction,
    shipped_config,
)

MMPRETRAIN = 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py'
MMSEG = 'mobilenet_v2/mobilenet-v2-d8_deeplabv3_4xb4-160k_ade20k-512x512.py'
#: Sides of the input of the networks alone.
CLASSIFICATION, SEGMENTATION = 224, 513


def infer_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py infer`."""
    decoders = {"mmdet's predict_by_feat": dict(ours=False), 'mnv2_mm': dict(ours=True)}
    classifiers = {
        "mmpretrain's": dict(build=partial(host_model, 'mmpretrain', MMPRETRAIN)),
        "torchvision's": dict(build=mobilenet_v2),
        "timm's": dict(build=partial(create_model, 'mobilenetv2_100')),
    }
    segmentors = {"mmseg's": dict(build=partial(host_model, 'mmseg', MMSEG, 21))}
    for name, kwargs in VARIANTS.items():
        build = partial(init_model, **kwargs)
        classifiers[name] = dict(build=partial(build, 'mnv2_in1k'))
        segmentors[name] = dict(build=partial(build, 'deeplabv3_mnv2_voc'))
    classes = f'classification, {CLASSIFICATION} px, 1000 classes, network alone'
    pixels = f"segmentation, {SEGMENTATION} px, network alone: mmseg's has stride 8"
    small, large = partial(forward, CLASSIFICATION), partial(forward, SEGMENTATION)
    nms = 'decoding and NMS, 80 classes, 200 boxes, untrained'
    return [
        *case_group(PHOTO_GROUP, prediction, PREDICTIONS, repeats=5, warmup=WARMUP),
        *case_group(nms, decoding, decoders, repeats=3, warmup=WARMUP),
        *case_group(classes, small, classifiers, repeats=5, warmup=WARMUP),
        *case_group(pixels, large, segmentors, warmup=WARMUP),
    ]


def decoding(*, ours: bool) -> Step:
    """Logits and codes to 200 boxes, by our function or by mmdet's."""
    torch.manual_seed(0)
    model = init_model(OURS)
    head = model.bbox_head
    head.test_cfg.max_per_img = 200
    with torch.no_grad():
        maps = head(model.extract_feat(torch.randn(1, 3, SIDE, SIDE)))
    meta = dict(img_shape=(SIDE, SIDE), scale_factor=(0.5, 2 / 3))
    run = (type(head) if ours else BaseDenseHead).predict_by_feat
    run = partial(run, head, *maps, cfg=head.test_cfg, rescale=True)
    return torch.no_grad()(partial(run, batch_img_metas=[meta]))


def forward(side: int, build: Callable[[], nn.Module]) -> Step:
    """A forward pass of one image in eval mode, up to the logits."""
    return torch.no_grad()(partial(build().eval(), torch.rand(1, 3, side, side)))


def host_model(scope: str, name: str, num_classes: int | None = None) -> nn.Module:
    """A host's own model with random weights, without what it would download."""
    model = shipped_config(scope, name).model
    model.pretrained = None
    if num_classes:
        model.decode_head.num_classes = model.auxiliary_head.num_classes = num_classes
    init_default_scope(scope)
    torch.manual_seed(0)
    return MODELS.build(model)
