"""SSDLite of mmdet and ours for the comparisons: configs, steps, input."""

import importlib.util
import os
import shutil
import tempfile
import weakref
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.testing import demo_mm_inputs
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mnv2_mm.api import init_model
from mnv2_mm.benchmark.core import Step
from mnv2_mm.engine.fast_training import BFloat16OptimWrapper, keep_freed_memory
from mnv2_mm.engine.network_graph import EAGER_CALLS
from mnv2_mm.engine.optimized_inference import optimize_for_inference
from mnv2_mm.engine.predictor import Model
from mnv2_mm.runtime.machine import bfloat16_pays
from mnv2_mm.utils.config import get_config

#: Our detector, and the classes and side of both.
OURS, CLASSES, SIDE = 'ssdlite_mnv2_coco', 80, 320
MMDET = 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'
#: How a model of ours can be made for prediction: name, arguments of init_model.
VARIANTS = {
    'mnv2_mm, layer by layer': {},
    'mnv2_mm': dict(optimize=True),  # as load does
    'mnv2_mm, by PyTorch': dict(optimize=True, backend='pytorch'),
    'mnv2_mm, bfloat16': dict(dtype='bfloat16'),
}
#: Arguments of :func:`prediction`, the host's and ours.
PREDICTIONS = {"mmdet's inference_detector": dict(ours=False), **VARIANTS}
PHOTO_GROUP = 'one photo of 640x480, array in, boxes out'
#: Of a trained detector's class logits.
DEVIATION, MEAN = 2.0, -6.0
#: Steps until an optimized model has made its graph.
WARMUP = EAGER_CALLS + 3


def shipped_config(package: str, name: str) -> Config:
    """Read a config that an installed host ships.

    mmengine's hub is not used: it installs what it takes to be missing, and
    so puts upstream's mmsegmentation over the installed one.
    """
    root = Path(importlib.util.find_spec(package).origin).parent
    return Config.fromfile(root / '.mim/configs' / name)


def detector(
    *, ours: bool, side: int = SIDE, device: str = 'cpu', compiled: bool = False
) -> nn.Module:
    """SSDLite, ours or mmdet's, from random weights of the same seed."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = get_config(OURS) if ours else shipped_config('mmdet', MMDET)
    cfg.model.bbox_head.anchor_generator.input_size = side
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.cfg = cfg
    if not hasattr(model.bbox_head, 'loss_cls'):
        model.bbox_head.loss_cls = None  # mmdet's SSDHead cannot predict without
    for part in (model.backbone, model.neck, model.bbox_head) if compiled else ():
        part.compile()
    return model.to(device)


def photo(seed: int = 0) -> np.ndarray:
    """A random image (480, 640, 3) with some structure, BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)


def training_step(
    batch_size: int,
    side: int = SIDE,
    *,
    ours: bool = True,
    channels_last: bool = False,
    keep_memory: bool = False,
    fast: bool = False,
    compiled: bool = False,
    device: str = 'cpu',
) -> Step:
    """One step on images of the host: preprocessing, forward, backward, update.

    The images have three objects each. ``channels_last`` and ``keep_memory`` are what
    `tools/train.py` sets on a CPU, ``fast`` its ``--fast``; ``compiled`` also fuses the
    optimizer.
    """
    wrapper = OptimWrapper
    on_cpu = torch.device(device).type == 'cpu'
    if keep_memory or (fast and on_cpu):
        keep_freed_memory()
    if fast and not on_cpu:
        wrapper = AmpOptimWrapper
    elif fast and bfloat16_pays():
        wrapper = BFloat16OptimWrapper
    model = detector(ours=ours, side=side, device=device, compiled=compiled).train()
    if channels_last or fast:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), 1e-4, momentum=0.9, fused=compiled or None
    )
    shapes, objects = [(3, side, side)] * batch_size, [3] * batch_size
    batch = demo_mm_inputs(batch_size, shapes, objects, CLASSES)
    if int(os.environ.get('WORLD_SIZE', 1)) > 1:
        torch.distributed.init_process_group('gloo')
        model = MMDistributedDataParallel(model)
    return partial(model.train_step, batch, wrapper(optimizer=optimizer))


def network(
    batch_size: int,
    side: int = SIDE,
    *,
    ours: bool = True,
    optimize: bool = False,
    compiled: bool = False,
    device: str = 'cpu',
    **how: str,
) -> Step:
    """Backbone, neck and head of SSDLite in eval mode, without decoding."""
    model = detector(ours=ours, side=side, device=device, compiled=compiled).eval()
    if optimize or how:
        optimize_for_inference(model, **how)
    x = torch.rand(batch_size, 3, side, side, device=device)
    return torch.no_grad()(lambda: model.bbox_head(model.extract_feat(x)))


def loaded(network: nn.Module, **kwargs: str) -> Model:
    """What load makes of a network; arguments as of optimize_for_inference."""
    folder = Path(tempfile.mkdtemp())
    optimize_for_inference(network, **kwargs)
    model = Model(network, None if kwargs else folder / 'exports')
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return model


@torch.no_grad()
def spread_scores(model: nn.Module) -> None:
    """Give a detector with random weights scores as a trained one has: most near 0.

    Random weights give every box the same score, of which NMS cannot choose.
    """
    image = torch.from_numpy(cv2.resize(photo(), (SIDE, SIDE))).permute(2, 0, 1)
    x = (image[None] / 127.5 - 1).to(next(model.parameters()).device)
    maps, _ = model.bbox_head(model.extract_feat(x))
    for level, logits in zip(model.bbox_head.cls_convs, maps, strict=True):
        last = [m for m in level.modules() if isinstance(m, nn.Conv2d)][-1]
        last.weight *= DEVIATION / logits.std()
        last.bias.fill_(MEAN)
        if not model.bbox_head.use_sigmoid_cls:  # softmax compares with the background
            last.bias.view(-1, CLASSES + 1)[:, -1] = 0


def prediction(
    *, ours: bool = True, device: str = 'cpu', optimize: bool = False, **how: str
) -> Step:
    """Prediction of a photo, array in, boxes out.

    By ``predict`` of a model as load makes it, or by mmdet's own function.
    """
    image = photo()
    if ours:
        torch.manual_seed(0)
        network = init_model(OURS, device=device)
        spread_scores(network)
        predict = (
            loaded(network, **how) if optimize or how else Model(network)
        ).predict
        return lambda: next(predict(image))
    model = detector(ours=False, device=device).eval()
    spread_scores(model)
    steps = get_test_pipeline_cfg(model.cfg)
    steps[0].type = 'mmdet.LoadImageFromNDArray'
    return partial(inference_detector, model, image, test_pipeline=Compose(steps))
