"""What other code bases call the layers of MobileNetV2.

Each flavour maps a key of its state dict to ours by name, never by position.
Ours follow mmdet: ``conv1``, ``layer1`` to ``layer7`` with ``expand_conv``,
``depthwise_conv`` and ``linear_conv``, ``conv2``.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mnv2_mm.models.layout import LAST_LAYER, TABLE_2

_BRANCHES = ('expand_conv', 'depthwise_conv', 'linear_conv')


class Flavour(NamedTuple):
    """A naming scheme, and how its published weights were trained."""

    name: str
    #: Returns our key, or None for a key that is not of the backbone.
    convert: Callable[[str], str | None]
    #: BN epsilon of the training; another one at inference costs accuracy.
    bn_eps: float


def block_name(layer: int) -> str:
    """``layer6.0`` for TF's layer_15."""
    index = layer - 2
    for stage, row in enumerate(TABLE_2, start=1):
        if index < row.repeats:
            return f'layer{stage}.{index}'
        index -= row.repeats
    raise ValueError(f'layer_{layer} is no bottleneck')


def _branch(index: int, *, expanded: bool) -> str | None:
    """The n-th convolution of a block; the first block has no expansion."""
    branches = _BRANCHES if expanded else _BRANCHES[1:]
    return branches[index] if index < len(branches) else None


def _from_torchvision(key: str) -> str | None:
    """``features.k`` is TF's layer_(k+1); conv and norm are numbered."""
    match = re.fullmatch(r'features\.(\d+)\.(.+)\.(\w+)', key)
    if not match:
        return None
    layer, path, leaf = int(match[1]) + 1, match[2], match[3]
    if layer in (1, LAST_LAYER):
        module = {'0': 'conv', '1': 'bn'}.get(path)
        name = 'conv1' if layer == 1 else 'conv2'
        return module and f'{name}.{module}.{leaf}'
    if not 1 < layer < LAST_LAYER:
        return None
    expanded = layer > 2
    steps = [
        step
        for i in range(2 if expanded else 1)
        for step in (f'conv.{i}.0', f'conv.{i}.1')
    ]
    count = len(steps) // 2
    steps += [f'conv.{count}', f'conv.{count + 1}']
    if path not in steps:
        return None
    position = steps.index(path)
    branch = _branch(position // 2, expanded=expanded)
    return (
        f'{block_name(layer)}.{branch}.{("conv", "bn")[position % 2]}.{leaf}'
    )


def _from_mmpretrain(key: str) -> str | None:
    """mmpretrain and mmseg number the convolutions of a block."""
    key = key.removeprefix('backbone.')
    match = re.fullmatch(r'(layer(\d)\.\d+)\.conv\.(\d)\.(.+)', key)
    if match:
        branch = _branch(int(match[3]), expanded=match[2] != '1')
        return branch and f'{match[1]}.{branch}.{match[4]}'
    return key if re.match(r'conv[12]\.(conv|bn)\.', key) else None


def _from_ours(key: str) -> str | None:
    """mmdet's names and ours."""
    key = key.removeprefix('backbone.')
    branches = '|'.join(_BRANCHES)
    own = rf'(conv[12]|layer\d\.\d+\.({branches}))\.(conv|bn)\..+'
    return key if re.fullmatch(own, key) else None


#: The known namings, the most particular first.
FLAVOURS = (
    Flavour('torchvision', _from_torchvision, 1e-5),
    Flavour('mmpretrain', _from_mmpretrain, 1e-5),
    Flavour('mmdet or mnv2_mm', _from_ours, 1e-3),
)


def flavour_of(keys: Iterable[str]) -> Flavour | None:
    """The naming that knows most of the keys, or None if none does."""
    keys = list(keys)
    known = {
        flavour: sum(flavour.convert(key) is not None for key in keys)
        for flavour in FLAVOURS
    }
    best = max(known, key=lambda flavour: known[flavour])
    return best if known[best] else None
