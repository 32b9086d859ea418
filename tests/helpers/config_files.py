"""Read configs/ and build their models, each only once in a session."""

import copy
import functools
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from mnv2_mm.utils.config import apply_options

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
#: What a config needs for tools/train.py and tools/test.py.
REQUIRED_KEYS = (
    'default_scope',
    'default_hooks',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'val_evaluator',
    'test_evaluator',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'optim_wrapper',
    'param_scheduler',
    'visualizer',
    'env_cfg',
    'data_help',
    'auto_scale_lr',
)


@functools.cache
def _parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def load(name: str, *options: str) -> Config:
    """A config with command-line options, as the tools apply them."""
    cfg = copy.deepcopy(_parsed(name))
    assert apply_options(cfg, options) == []
    return cfg


def build(cfg: Config) -> nn.Module:
    """The model with the same random weights at each call."""
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def build_on_meta(cfg: Config) -> nn.Module:
    """The model without memory for its weights, for shapes and counts."""
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    # some weights (mmdet's L2Norm) ignore the context
    return model.to('meta').eval()


@functools.cache
def meta_model(name: str) -> nn.Module:
    """The model of a config on the meta device; do not change it."""
    return build_on_meta(load(name))


@functools.cache
def initialized_model(name: str) -> nn.Module:
    """The model of a config after ``init_weights``; do not change it."""
    model = build(load(name))
    model.init_weights()
    return model
