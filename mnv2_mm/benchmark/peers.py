"""The networks that are compared, as their owners ship them."""

import torch
from mmengine.config import Config
from mmengine.hub import get_config as hub_config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mnv2_mm import compat

#: Ours, of the same input and classes.
OURS, CLASSES, SIDE = 'ssdlite_mnv2_coco', 80, 320
#: mmdet's, by its name in the installed package.
PEER = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'


def peer_config() -> Config:
    """mmdet's config of its built-in SSDLite, without pretrained weights."""
    compat.mend_ssd_head()
    return hub_config(PEER)


def built(cfg: Config) -> nn.Module:
    """A detector from the same seed."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model
