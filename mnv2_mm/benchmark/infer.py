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

from mnv2_mm.api import init_model, predict
from mnv2_mm.benchmark.baselines import (
    OURS,
    SIDE,
    VARIANTS,
    WARMUP,
    detector,
    detector_config,
    shipped_config,
)
from mnv2_mm.benchmark.core import Case, Options, Step
from mnv2_mm.benchmark.sample_images import photo
from mnv2_mm.engine.optimized_inference import optimize_for_inference

PHOTO_GROUP = 'one photo of 640x480, array in, boxes out'
MMPRETRAIN = 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py'
MMSEG = 'mobilenet_v2/mobilenet-v2-d8_deeplabv3_4xb4-160k_ade20k-512x512.py'
#: Side of the input of our networks alone.
SIDES = {'mnv2_in1k': 224, 'deeplabv3_mnv2_voc': 513}


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py infer`."""
    photo_case = partial(Case, group=PHOTO_GROUP, repeats=5, warmup=WARMUP)
    decoding_case = partial(
        Case, group='decoding and NMS, 80 classes, 200 boxes, untrained', repeats=3
    )
    return [
        photo_case(name="mmdet's inference_detector", make=mmdet_prediction),
        *(
            photo_case(name=f'{name}, api.predict', make=partial(prediction, **kwargs))
            for name, kwargs in VARIANTS.items()
        ),
        decoding_case(
            name="mmdet's predict_by_feat", make=partial(decoding, ours=False)
        ),
        decoding_case(name='mnv2_mm', make=partial(decoding, ours=True)),
        *_networks(
            'mnv2_in1k',
            'classification, {} px, 1000 classes, network alone',
            {
                "mmpretrain's": _mmpretrain,
                "torchvision's": _torchvision,
                "timm's": _timm,
            },
        ),
        *_networks(
            'deeplabv3_mnv2_voc',
            "segmentation, {} px, 21 classes, network alone: mmseg's has stride 8 "
            'and a full ASPP',
            {"mmseg's": _mmseg},
        ),
    ]


def mmdet_prediction(device: str = 'cpu') -> Step:
    """mmdet's prediction of a photo by its own SSDLite."""
    model = detector(ours=False).eval().to(device)
    model.cfg = detector_config(ours=False)
    steps = get_test_pipeline_cfg(model.cfg)
    steps[0].type = 'mmdet.LoadImageFromNDArray'
    pipeline, image = Compose(steps), photo(0)
    return lambda: inference_detector(model, image, test_pipeline=pipeline)


def prediction(**kwargs: bool | str) -> Step:
    """Our prediction of a photo; arguments are those of init_model."""
    model, image = init_model(OURS, **kwargs), photo(0)
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
    function = type(head) if ours else BaseDenseHead
    with torch.no_grad():
        maps = head(model.extract_feat(torch.randn(1, 3, SIDE, SIDE)))
    meta = dict(img_shape=(SIDE, SIDE), scale_factor=(0.5, 2 / 3))
    return torch.no_grad()(
        partial(
            function.predict_by_feat,
            head,
            *maps,
            cfg=head.test_cfg,
            batch_img_metas=[meta],
            rescale=True,
        )
    )


def _networks(
    ours: str, title: str, baselines: dict[str, Callable[[], nn.Module]]
) -> list[Case]:
    """Forward passes in eval mode, of one image; weights are random."""
    builders = {
        **baselines,
        **{
            name: partial(init_model, ours, **kwargs)
            for name, kwargs in VARIANTS.items()
        },
    }
    side = SIDES[ours]
    return [
        Case(
            name=name,
            group=title.format(side),
            make=partial(_forward, build, side),
            repeats=5 if side < 300 else 1,
            warmup=WARMUP,
        )
        for name, build in builders.items()
    ]


def _forward(build: Callable[[], nn.Module], side: int) -> Step:
    model, x = build().eval(), torch.rand(1, 3, side, side)

    @torch.no_grad()
    def step() -> object:
        if hasattr(model, 'decode_head'):  # to the logits
            return model.decode_head(model.extract_feat(x))
        return model(x)

    return step


def _host_model(scope: str, name: str, **changes: object) -> nn.Module:
    """A host's own model, without what it would download."""
    cfg = shipped_config(scope, name)
    cfg.merge_from_dict({'model.pretrained': None, **changes})
    init_default_scope(scope)
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def _mmpretrain() -> nn.Module:
    return _host_model('mmpretrain', MMPRETRAIN)


def _mmseg() -> nn.Module:
    heads = ('decode_head', 'auxiliary_head')
    return _host_model('mmseg', MMSEG, **{f'model.{h}.num_classes': 21 for h in heads})


def _torchvision() -> nn.Module:
    from torchvision.models import mobilenet_v2

    return mobilenet_v2()


def _timm() -> nn.Module:
    from timm import create_model

    return create_model('mobilenetv2_100')
