"""The networks that are compared, as their owners ship them."""

import importlib.util
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mnv2_mm.utils import compat

#: Ours, of the same input and classes.
OURS, CLASSES, SIDE = 'ssdlite_mnv2_coco', 80, 320
#: mmdet's, by its place among the configs of the package.
PEER = 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'


def shipped_config(package: str, name: str) -> Config:
    """A config that an installed host ships.

    Not by mmengine's hub: it installs what it takes to be missing, and so
    puts upstream's mmsegmentation over the one that is there.
    """
    root = Path(importlib.util.find_spec(package).origin).parent
    return Config.fromfile(root / '.mim/configs' / name)


def peer_config() -> Config:
    """mmdet's config of its built-in SSDLite, without pretrained weights."""
    compat.mend_ssd_head()
    return shipped_config('mmdet', PEER)


def built(cfg: Config) -> nn.Module:
    """A detector from the same seed."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model
