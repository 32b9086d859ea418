"""The networks that are compared, the hosts' own and ours, and their input."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mnv2_mm.utils.config import get_config

#: Our detector, and the classes and side of both.
OURS, CLASSES, SIDE = 'ssdlite_mnv2_coco', 80, 320
MMDET = 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'
#: How a model of ours can be made for prediction: name, arguments.
VARIANTS = {
    'mnv2_mm': {},
    'mnv2_mm, optimized': {'optimize': True},
    'mnv2_mm, bfloat16': {'dtype': 'bfloat16'},
}
#: Steps until an optimized model has made all its graphs.
WARMUP = 5


def shipped_config(package: str, name: str) -> Config:
    """Read a config that an installed host ships.

    mmengine's hub is not used: it installs what it takes to be missing, and
    so puts upstream's mmsegmentation over the installed one.
    """
    root = Path(importlib.util.find_spec(package).origin).parent
    return Config.fromfile(root / '.mim/configs' / name)


def detector_config(*, ours: bool, side: int = SIDE) -> Config:
    """Our config of SSDLite or mmdet's, for an input of side x side."""
    cfg = get_config(OURS) if ours else shipped_config('mmdet', MMDET)
    cfg.model.bbox_head.anchor_generator.input_size = side
    return cfg


def detector(*, ours: bool, side: int = SIDE) -> nn.Module:
    """SSDLite, ours or mmdet's, from random weights of the same seed."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(detector_config(ours=ours, side=side).model)
    model.init_weights()
    if not hasattr(model.bbox_head, 'loss_cls'):
        model.bbox_head.loss_cls = None  # mmdet's SSDHead cannot predict without
    return model


def photo(seed: int = 0) -> np.ndarray:
    """A random image (480, 640, 3) with some structure, BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
