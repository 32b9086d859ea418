"""SSDLite's prediction against mmdet's own: the whole, and its last part.

Ours runs in processes of its own, as a fast model changes how memory is kept,
which mmdet's would profit from too.
"""

import argparse
import functools
from collections.abc import Callable

import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.utils import get_test_pipeline_cfg

from mnv2_mm.api import init_model, predict
from mnv2_mm.benchmark import forward
from mnv2_mm.benchmark.images import image
from mnv2_mm.benchmark.pairs import PAUSE, Contestant, Part
from mnv2_mm.benchmark.peers import OURS, SIDE, built, peer_config
from mnv2_mm.benchmark.processes import FORMS, WARMUP, apart


def parts(args: argparse.Namespace) -> list[Part]:
    """What `tools/benchmark.py infer` measures."""
    return [
        Part(
            'one photo of 640x480, array in, boxes out',
            one_photo(args.threads),
            5,
            pause=PAUSE,
            warmup=WARMUP,
        ),
        Part(
            'decoding and NMS, 80 classes, 200 boxes, untrained',
            decoding(),
            3,
        ),
        *forward.parts(args.threads),
    ]


def one_photo(threads: int) -> list[Contestant]:
    """Array in, boxes out, through each side's public function."""

    return [
        Contestant("mmdet's inference_detector", their_prediction),
        *(
            Contestant(
                f'mnv2_mm.api.predict{name}',
                apart(functools.partial(predicting, **how), threads=threads),
            )
            for name, how in FORMS.items()
        ),
    ]


def their_prediction(device: torch.device | str = 'cpu') -> Callable:
    """mmdet's prediction of a photo by its own SSDLite."""
    cfg = peer_config()
    model = built(cfg).eval().to(device)
    model.cfg = cfg
    steps = get_test_pipeline_cfg(cfg)
    steps[0].type = 'mmdet.LoadImageFromNDArray'
    pipeline, photo = Compose(steps), image(0)
    return lambda: inference_detector(model, photo, test_pipeline=pipeline)


def predicting(**how: bool | str) -> Callable[[], object]:
    """Our prediction of a photo, the model made as said."""
    model, photo = init_model(OURS, **how), image(0)
    return lambda: predict(model, photo)


def decoding() -> list[Contestant]:
    """Logits and codes to 200 boxes, 80 classes, an untrained head."""
    model = init_model(OURS)
    head = model.bbox_head
    head.test_cfg.max_per_img = 200
    torch.manual_seed(0)
    with torch.no_grad():
        maps = head(model.extract_feat(torch.randn(1, 3, SIDE, SIDE)))
    meta = dict(img_shape=(SIDE, SIDE), scale_factor=(0.5, 2 / 3))
    common = dict(batch_img_metas=[meta], rescale=True)

    def of(function: Callable) -> Callable[[], Callable[[], object]]:
        def run() -> None:
            with torch.no_grad():
                function(head, *maps, cfg=head.test_cfg, **common)

        return lambda: run

    return [
        Contestant("mmdet's predict_by_feat", of(BaseDenseHead.predict_by_feat)),
        Contestant('mnv2_mm', of(type(head).predict_by_feat)),
    ]
