"""Keys of MobileNetV2's backbone in other code bases.

Each code base is a table of module names. Ours follow mmdet: ``conv1``, ``layer1`` to
``layer7`` with ``expand_conv``, ``depthwise_conv`` and ``linear_conv``, ``conv2``.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mnv2_mm.checkpoints.source import IMAGENET, Preprocessing, SourcePadding
from mnv2_mm.models.mobilenet_v2 import TABLE_2

#: The bottlenecks: layer_2 to layer_18 of TensorFlow.
BLOCKS = tuple(
    f'layer{stage}.{index}'
    for stage, row in enumerate(TABLE_2, start=1)
    for index in range(row.repeats)
)
_PARTS = tuple(
    f'{branch}.{part}'
    for branch in ('expand_conv', 'depthwise_conv', 'linear_conv')
    for part in ('conv', 'bn')
)
#: The stem and the last layer.
_ENDS = ('conv1.conv', 'conv1.bn', 'conv2.conv', 'conv2.bn')


class KeyMap(NamedTuple):
    """The keys of a code base, and how its published weights were trained."""

    name: str
    #: Our module by theirs.
    modules: dict[str, str]
    #: BN epsilon of the training; another one at inference costs accuracy. None, and
    #: no padding and preprocessing, where the config of the training decides.
    bn_eps: float | None = 1e-5
    padding: SourcePadding = 'symmetric'
    preprocessing: Preprocessing | None = IMAGENET

    def convert(self, key: str) -> str | None:
        """Return our key of a tensor, None if it is not of the backbone."""
        module, _, leaf = key.removeprefix('backbone.').rpartition('.')
        ours = self.modules.get(module)
        return ours and f'{ours}.{leaf}'


def _modules(
    ends: Sequence[str],
    blocks: Iterable[str],
    parts: Sequence[str],
    first: Sequence[str] = (),
) -> dict[str, str]:
    """Table of their modules: ends, parts of a block, of the first (no expansion)."""
    table = dict(zip(ends, _ENDS, strict=True))
    first = first or parts[:4]
    for theirs, ours in zip(blocks, BLOCKS, strict=True):
        names, own = (parts, _PARTS) if ours != BLOCKS[0] else (first, _PARTS[2:])
        for name, part in zip(names, own, strict=True):
            table[f'{theirs}.{name}'] = f'{ours}.{part}'
    return table


_NUMBERED = [f'features.{number}' for number in range(1, 18)]
_TORCHVISION = _modules(
    ('features.0.0', 'features.0.1', 'features.18.0', 'features.18.1'),
    _NUMBERED,
    ('conv.0.0', 'conv.0.1', 'conv.1.0', 'conv.1.1', 'conv.2', 'conv.3'),
    ('conv.0.0', 'conv.0.1', 'conv.1', 'conv.2'),
)
#: As torchvision, but flat: convolution, norm, activation, and so on.
_D_LI14 = _modules(
    ('features.0.0', 'features.0.1', 'conv.0', 'conv.1'),
    _NUMBERED,
    ('conv.0', 'conv.1', 'conv.3', 'conv.4', 'conv.6', 'conv.7'),
)
#: The older code of tonylins has layer_19 among the features.
_D_LI14 |= {'features.18.0': 'conv2.conv', 'features.18.1': 'conv2.bn'}
_TIMM = _modules(
    ('conv_stem', 'bn1', 'conv_head', 'bn2'),
    [
        f'blocks.{stage}.{index}'
        for stage, row in enumerate(TABLE_2)
        for index in range(row.repeats)
    ],
    ('conv_pw', 'bn1', 'conv_dw', 'bn2', 'conv_pwl', 'bn3'),
    ('conv_dw', 'bn1', 'conv_pw', 'bn2'),
)
_MMPRETRAIN = _modules(
    _ENDS, BLOCKS, [f'conv.{i}.{part}' for i in range(3) for part in ('conv', 'bn')]
)
_MMDET = _modules(_ENDS, BLOCKS, _PARTS, _PARTS[2:])

#: The known key maps; if two know the same number of keys, the first one is used.
KEY_MAPS = (
    KeyMap('torchvision', _TORCHVISION),
    KeyMap('d-li14', _D_LI14),
    KeyMap('timm', _TIMM),
    KeyMap('mmpretrain or mmseg', _MMPRETRAIN),
    KeyMap('mmdet or mnv2_mm', _MMDET, bn_eps=1e-3),
)


def known_key_maps() -> str:
    """Names for messages: 'torchvision, ... or ...'."""
    *names, last = (key_map.name for key_map in KEY_MAPS)
    return f'{", ".join(names)} or {last}'


def key_map_of(keys: Iterable[str]) -> KeyMap | None:
    """The key map that knows most of the keys, or None if none does.

    It must know a bottleneck: ``bn1`` is in every ResNet.
    """
    keys = list(keys)

    def known(key_map: KeyMap) -> int:
        ours = [name for key in keys if (name := key_map.convert(key))]
        return len(ours) if any(name.startswith('layer') for name in ours) else 0

    best = max(KEY_MAPS, key=known)
    return best if known(best) else None
