"""Checkpoints of earlier versions still load: keys and shapes are the same.

``KEYS`` holds one digest per network: the sha256, cut to 16 digits, of the
sorted lines ``key shape`` of its state dict (see :func:`digest`). They were
made with the code of commit 52fb675, the last one before the package was
rearranged, by running this file against a checkout of it::

    PYTHONPATH=CHECKOUT python tests/checkpoints/test_old_checkpoints.py

A digest that differs means that existing checkpoints no longer load. Do not
replace it: give the module a load_state_dict pre-hook that maps old keys.
"""

import hashlib
import os
import pickletools
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner, load_checkpoint
from torch import nn

HEAD = 'model.bbox_head'
#: Config, the options changed in it, digest.
KEYS = [
    ('mnv2_in1k', {}, '6df075710f2c5021'),
    ('mnv2_in1k', {'model.backbone.widen_factor': 0.35}, '83c5ed7d5847db3e'),
    ('figure6/mobilenet_v2_relu6_bottleneck', {}, '6df075710f2c5021'),
    ('figure6/mobilenet_v2_shortcut_expansion', {}, '6df075710f2c5021'),
    ('figure6/mobilenet_v2_no_shortcut', {}, '6df075710f2c5021'),
    ('ssdlite_mnv2_coco', {}, '28bff5cc09878aac'),
    ('ssdlite_mnv2_coco', {f'{HEAD}.loss': 'softmax'}, '28bff5cc09878aac'),
    ('official/ssdlite_mnv2_objects', {}, '3619a63a70af19a7'),
    ('table5/ssd_mobilenet_v2', {}, '8b0fb6a7631c6375'),
    ('deeplabv3_mnv2_voc', {}, '3f71363bdb7be9f1'),
    ('table4/mobilenet_v1', {}, '8ec80491f1a7c3da'),
    ('table4/nasnet_a_mobile', {}, '40afa8aeb2fea202'),
    ('table6/yolov2', {}, 'f1d0197628271ae4'),
    ('table7/mobilenet_v2_os16_aspp', {}, '18d3016ccc529fec'),
    ('table7/resnet101_os16_aspp', {}, '8fd0221098c0f2b2'),
]


def build(config: Path, options: dict[str, object]) -> nn.Module:
    """The model of a config, without values."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(options)
    scope = DefaultScope.overwrite_default_scope(cfg.default_scope)
    with scope, torch.device('meta'):
        return MODELS.build(cfg.model)


def digest(model: nn.Module) -> str:
    lines = sorted(f'{k} {tuple(v.shape)}' for k, v in model.state_dict().items())
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize(('name', 'options', 'expected'), KEYS)
def test_keys_and_shapes_are_those_of_earlier_versions(name, options, expected):
    configs = Path(__file__).resolve().parents[2] / 'configs'
    assert digest(build(configs / f'{name}.py', options)) == expected


def test_a_checkpoint_of_a_runner_names_no_module_of_this_package(
    tiny_config: Callable[..., Path], tmp_path: Path
) -> None:
    """So it loads wherever the classes are: keys and shapes alone must fit."""
    cfg = Config.fromfile(tiny_config('cls'))
    cfg.work_dir = str(tmp_path)
    runner = Runner.from_cfg(cfg)
    runner.train()
    path = tmp_path / 'epoch_1.pth'
    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith('data.pkl'))
        operations = list(pickletools.genops(archive.read(name)))
    classes = {arg for op, arg, _ in operations if op.name == 'GLOBAL'}
    assert 'STACK_GLOBAL' not in {op.name for op, *_ in operations}
    assert 'torch._utils _rebuild_tensor_v2' in classes
    assert not [name for name in classes if name.startswith('mnv2_mm')]
    model = MODELS.build(cfg.model)
    checkpoint = load_checkpoint(model, str(path), strict=True)
    assert {'meta', 'state_dict', 'message_hub', 'optimizer'} <= set(checkpoint)


if __name__ == '__main__':
    checkout = Path(os.environ['PYTHONPATH'])
    for name, options, _ in KEYS:
        model = build(checkout / f'configs/{name}.py', options)
        sys.stdout.write(f'{(name, options, digest(model))},\n')
