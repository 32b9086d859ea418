"""What other code bases call the layers of MobileNetV2.

Each key_map maps a key of its state dict to ours by name, never by position.
Ours follow mmdet: ``conv1``, ``layer1`` to ``layer7`` with ``expand_conv``,
``depthwise_conv`` and ``linear_conv``, ``conv2``.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mnv2_mm.models.mobilenet_v2 import LAST_LAYER, TABLE_2

_BRANCHES = ('expand_conv', 'depthwise_conv', 'linear_conv')


class KeyMap(NamedTuple):
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
    return f'{block_name(layer)}.{branch}.{("conv", "bn")[position % 2]}.{leaf}'


def _from_mmpretrain(key: str) -> str | None:
    """mmpretrain and mmseg number the convolutions of a block."""
    key = key.removeprefix('backbone.')
    match = re.fullmatch(r'(layer(\d)\.\d+)\.conv\.(\d)\.(.+)', key)
    if match:
        branch = _branch(int(match[3]), expanded=match[2] != '1')
        return branch and f'{match[1]}.{branch}.{match[4]}'
    return key if re.match(r'conv[12]\.(conv|bn)\.', key) else None


def _from_d_li14(key: str) -> str | None:
    """As torchvision, but flat: convolution, norm, activation, and on.

    layer_19 is ``conv``; in the older code of tonylins, whose names these
    are, it is the last of ``features``.
    """
    match = re.fullmatch(r'(?:features\.0|(features\.18|conv))\.([01])\.(\w+)', key)
    if match:
        name = 'conv2' if match[1] else 'conv1'
        return f'{name}.{("conv", "bn")[int(match[2])]}.{match[3]}'
    match = re.fullmatch(r'features\.(\d+)\.conv\.(\d)\.(\w+)', key)
    if not match:
        return None
    layer, (index, part) = int(match[1]) + 1, divmod(int(match[2]), 3)
    branch = _branch(index, expanded=layer > 2)
    if not 1 < layer < LAST_LAYER or part == 2 or branch is None:
        return None
    return f'{block_name(layer)}.{branch}.{("conv", "bn")[part]}.{match[3]}'


#: The first block of timm has no expansion and calls its projection "pw".
_TIMM_FIRST = {
    'conv_dw': 'depthwise_conv.conv',
    'bn1': 'depthwise_conv.bn',
    'conv_pw': 'linear_conv.conv',
    'bn2': 'linear_conv.bn',
}
_TIMM_BLOCK = {
    'conv_pw': 'expand_conv.conv',
    'bn1': 'expand_conv.bn',
    'conv_dw': 'depthwise_conv.conv',
    'bn2': 'depthwise_conv.bn',
    'conv_pwl': 'linear_conv.conv',
    'bn3': 'linear_conv.bn',
}
_TIMM_ENDS = {
    'conv_stem': 'conv1.conv',
    'bn1': 'conv1.bn',
    'conv_head': 'conv2.conv',
    'bn2': 'conv2.bn',
}


def _from_timm(key: str) -> str | None:
    """``blocks`` are the stages of Table 2; its deeper variants have more."""
    match = re.fullmatch(r'(?:blocks\.(\d)\.(\d+)\.)?(\w+)\.(\w+)', key)
    if not match:
        return None
    stage, index, module, leaf = match.groups()
    if stage is None:
        name = _TIMM_ENDS.get(module)
        return name and f'{name}.{leaf}'
    modules = _TIMM_FIRST if stage == '0' else _TIMM_BLOCK
    if (
        module not in modules
        or int(stage) >= len(TABLE_2)
        or int(index) >= TABLE_2[int(stage)].repeats
    ):
        return None
    return f'layer{int(stage) + 1}.{index}.{modules[module]}.{leaf}'


def _from_ours(key: str) -> str | None:
    """mmdet's names and ours."""
    key = key.removeprefix('backbone.')
    branches = '|'.join(_BRANCHES)
    own = rf'(conv[12]|layer\d\.\d+\.({branches}))\.(conv|bn)\..+'
    return key if re.fullmatch(own, key) else None


#: The known namings, the most particular first.
KEY_MAPS = (
    KeyMap('torchvision', _from_torchvision, 1e-5),
    KeyMap('d-li14', _from_d_li14, 1e-5),
    KeyMap('timm', _from_timm, 1e-5),
    KeyMap('mmpretrain or mmseg', _from_mmpretrain, 1e-5),
    KeyMap('mmdet or mnv2_mm', _from_ours, 1e-3),
)


def known_key_maps() -> str:
    """For messages: 'torchvision, ... or ...'."""
    *names, last = (key_map.name for key_map in KEY_MAPS)
    return f'{", ".join(names)} or {last}'


def key_map_of(keys: Iterable[str]) -> KeyMap | None:
    """The naming that knows most of the keys, or None if none does.

    Only namings that know a bottleneck count: those of the first and the
    last layer are common (``bn1`` is in every ResNet).
    """
    keys = list(keys)
    known: dict[KeyMap, int] = {}
    for key_map in KEY_MAPS:
        ours = [name for key in keys if (name := key_map.convert(key))]
        if any(name.startswith('layer') for name in ours):
            known[key_map] = len(ours)
    return max(known, key=lambda key_map: known[key_map], default=None)
