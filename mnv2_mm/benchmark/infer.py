"""Prediction against the hosts' own: a photo, its last part, networks alone."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.utils import get_test_pipeline_cfg
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torchvision.models import mobilenet_v2

from mnv2_mm.api import init_model, predict
from mnv2_mm.benchmark.baselines import (
    OURS,
    SIDE,
    VARIANTS,
    WARMUP,
    detector,
    detector_config,
    photo,
    shipped_config,
)
from mnv2_mm.benchmark.core import Case, Options, Step, case_group
from mnv2_mm.engine.optimized_inference import optimize_for_inference

PHOTO_GROUP = 'one photo of 640x480, array in, boxes out'
MMPRETRAIN = 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py'
MMSEG = 'mobilenet_v2/mobilenet-v2-d8_deeplabv3_4xb4-160k_ade20k-512x512.py'
#: Sides of the input of the networks alone.
CLASSIFICATION, SEGMENTATION = 224, 513


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py infer`."""
    predictions = {"mmdet's inference_detector": mmdet_prediction}
    decoders = {
        "mmdet's predict_by_feat": partial(decoding, ours=False),
        'mnv2_mm': partial(decoding, ours=True),
    }
    small, large = partial(forward, CLASSIFICATION), partial(forward, SEGMENTATION)
    classifiers = {
        "mmpretrain's": partial(small, partial(host_model, 'mmpretrain', MMPRETRAIN)),
        "torchvision's": partial(small, mobilenet_v2),
        "timm's": partial(small, _timm),
    }
    segmentors = {"mmseg's": partial(large, partial(host_model, 'mmseg', MMSEG, 21))}
    for name, kwargs in VARIANTS.items():
        predictions[f'{name}, api.predict'] = partial(prediction, **kwargs)
        build = partial(init_model, **kwargs)
        classifiers[name] = partial(small, partial(build, 'mnv2_in1k'))
        segmentors[name] = partial(large, partial(build, 'deeplabv3_mnv2_voc'))
    classes = f'{CLASSIFICATION} px, 1000 classes, network alone'
    pixels = f'{SEGMENTATION} px, 21 classes, network alone'
    return [
        case
        for title, repeats, makes in (
            (PHOTO_GROUP, 5, predictions),
            ('decoding and NMS, 80 classes, 200 boxes, untrained', 3, decoders),
            (f'classification, {classes}', 5, classifiers),
            (f"segmentation, {pixels}: mmseg's has stride 8", 1, segmentors),
        )
        for case in case_group(title, makes, repeats=repeats, warmup=WARMUP)
    ]


def mmdet_prediction(device: str = 'cpu') -> Step:
    """mmdet's prediction of a photo by its own SSDLite."""
    model = detector(ours=False).eval().to(device)
    model.cfg = detector_config(ours=False)
    steps = get_test_pipeline_cfg(model.cfg)
    steps[0].type = 'mmdet.LoadImageFromNDArray'
    pipeline, image = Compose(steps), photo()
    return lambda: inference_detector(model, image, test_pipeline=pipeline)


def prediction(**kwargs: bool | str) -> Step:
    """Our prediction of a photo; arguments are those of init_model."""
    model, image = init_model(OURS, **kwargs), photo()
    return lambda: predict(model, image)


def network(
    batch_size: int,
    side: int = SIDE,
    *,
    ours: bool = True,
    optimize: bool = False,
    dtype: Literal['float32', 'bfloat16'] = 'float32',
    compiled: bool = False,
    device: str = 'cpu',
) -> Step:
    """Backbone, neck and head of SSDLite in eval mode, without decoding."""
    model = detector(ours=ours, side=side).eval().to(device)
    if optimize:
        optimize_for_inference(model, dtype)
    if compiled:
        for part in (model.backbone, model.neck, model.bbox_head):
            part.compile()
    x = torch.rand(batch_size, 3, side, side, device=device)
    return torch.no_grad()(lambda: model.bbox_head(model.extract_feat(x)))


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
    model, x = build().eval(), torch.rand(1, 3, side, side)
    if hasattr(model, 'decode_head'):
        return torch.no_grad()(lambda: model.decode_head(model.extract_feat(x)))
    return torch.no_grad()(lambda: model(x))


def host_model(scope: str, name: str, num_classes: int | None = None) -> nn.Module:
    """A host's own model with random weights, without what it would download."""
    model = shipped_config(scope, name).model
    model.pretrained = None
    if num_classes:
        model.decode_head.num_classes = model.auxiliary_head.num_classes = num_classes
    init_default_scope(scope)
    torch.manual_seed(0)
    return MODELS.build(model)


def _timm() -> nn.Module:
    from timm import create_model

    return create_model('mobilenetv2_100')
