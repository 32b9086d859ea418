"""Names of PyTorch code bases, for whole models.

The backbones are those of :mod:`mnv2_mm.checkpoints.key_maps.backbones`; this adds
the heads, tells apart the code bases that share a backbone's names, and knows how each
trained its published weights.
"""

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor

from mnv2_mm.checkpoints.key_maps.backbones import (
    KeyMap,
    key_map_of,
    known_key_maps,
)
from mnv2_mm.checkpoints.source import (
    IMAGENET,
    Preprocessing,
    Source,
    SourcePadding,
    Translation,
)
from mnv2_mm.utils.errors import InputError

_SHOWN = 3  # keys named in a message


class Naming(NamedTuple):
    """Names of a whole model, and how its published weights were trained."""

    name: str
    #: Returns our name, or None for a tensor that no layer corresponds to.
    head: Callable[[str], str | None]
    bn_eps: dict[str, float]
    #: None, and no epsilon, of our own names: the config of their training
    #: says.
    padding: SourcePadding = 'symmetric'
    preprocessing: Preprocessing | None = IMAGENET


def translate_torch(source: Source) -> Translation:
    """Give the tensors of a PyTorch file our names.

    Shapes are not looked at: a layer of the same name is translated, also
    where it will not fit (mmdet's first predictors, mmseg's 3x3 bottleneck).

    Args:
        source: Of ``read_torch``; names without ``num_batches_tracked``.

    Raises:
        InputError: the names are of no known code base or of a network that
            is no MobileNetV2, or two tensors have one of our names.
    """
    key_map = key_map_of(source.tensors)
    if key_map is None:
        shown = ', '.join(list(source.tensors)[:_SHOWN]) or 'none'
        raise InputError(
            f'{source.path} holds no MobileNetV2 with known names (its keys '
            f'begin with {shown}); known are those of {known_key_maps()}. '
            'Rename the keys to one of them'
        )
    naming = naming_of(key_map, source.tensors)
    result = Translation(
        naming.name,
        {},
        {},
        bn_eps=dict(naming.bn_eps),
        padding=naming.padding,
        preprocessing=naming.preprocessing,
    )
    for key, value in source.tensors.items():
        ours = key_map.convert(key)
        ours = f'backbone.{ours}' if ours else naming.head(key)
        if ours is None:
            _check_foreign(key, source.path, naming.name)
            result.unused.append(key)
            continue
        if ours in result.tensors:
            raise InputError(
                f'{source.path}: both {result.origin[ours][0]} and {key} are '
                f'{ours} here; remove the one that is not meant'
            )
        result.tensors[ours] = value
        result.origin[ours] = (key,)
    if naming.name == 'mmdet':
        _order_anchors(result.tensors)
    return result


def naming_of(key_map: KeyMap, keys: Collection[str]) -> Naming:
    """Tell apart the code bases that share the names of a backbone.

    mmseg and mmpretrain differ in their heads. mmdet's backbone has our
    names; its SSDLite calls the layers of the neck otherwise, and heads of
    the other two beside such a backbone exist here only.
    """
    eps = {'': key_map.bn_eps}
    if key_map.name == 'mmpretrain or mmseg':
        name = key_map.name
        if _any(r'decode_head\.', keys):
            name = 'mmseg'
        elif _any(r'head\.fc\.', keys):
            name = 'mmpretrain'
        return Naming(name, _openmmlab_head, eps)
    if key_map.name == 'mmdet or mnv2_mm':
        if _any(r'neck\.extra_layers\.\d+\.1\.depthwise_conv\.', keys):
            return Naming('mmdet', _openmmlab_head, eps)
        name = key_map.name
        if _any(r'neck\.extra_layers\.\d+\.2\.|decode_head\.|head\.', keys):
            name, eps = 'mnv2_mm', {}
        return Naming(name, _openmmlab_head, eps, None, None)
    return Naming(key_map.name, _classifier, eps)


def _any(pattern: str, keys: Collection[str]) -> bool:
    return any(re.match(pattern, key) for key in keys)


def _classifier(key: str) -> str | None:
    """torchvision (behind a dropout), timm and d-li14."""
    match = re.fullmatch(r'classifier\.(?:1\.)?(weight|bias)', key)
    return match and f'head.fc.{match[1]}'


def _openmmlab_head(key: str) -> str | None:
    """Heads have the hosts' names here, but for parts of mmdet's SSDLite."""
    if not re.match(r'(neck|(\w+_)?head)\.', key):
        return None
    key = re.sub(
        r'^(neck\.extra_layers\.\d+)\.1\.(depthwise|pointwise)_conv\.',
        lambda match: f'{match[1]}.{1 if match[2] == "depthwise" else 2}.',
        key,
    )
    # plain SSD's predictors are sequences of one layer in mmdet
    return re.sub(
        r'^(bbox_head\.(?:cls|reg)_convs\.\d+)\.0\.(weight|bias)$',
        r'\1.\2',
        key,
    )


def _check_foreign(key: str, path: str, naming: str) -> None:
    """Refuse a network with other blocks under the same names."""
    if re.match(r'(backbone\.)?(features|blocks|layer\d+)\.', key):
        raise InputError(
            f'{path} has {naming} names, but {key} is in no MobileNetV2: it '
            'is another network, or one of another depth; give the weights '
            'of a MobileNetV2'
        )


#: Boxes of a cell by aspect ratio (w/h): ours as TF's 1, 2, 1/2, 3, 1/3 and
#: the larger square; mmdet's have the larger square second.
_FROM_MMDET = (0, 2, 3, 4, 5, 1)


def _order_anchors(tensors: dict[str, Tensor]) -> None:
    """Put the outputs of mmdet's predictors in our order of the anchors."""
    for key, value in tensors.items():
        match = re.fullmatch(r'bbox_head\.(?:cls|reg)_convs\.(\d+)\.1\.\w+', key)
        codes = match and tensors.get(f'bbox_head.reg_convs.{match[1]}.1.bias')
        count = len(_FROM_MMDET)
        # fewer anchors have no 3 and 1/3; the fit step compares the counts
        if codes is None or len(codes) != 4 * count or len(value) % count:
            continue
        slots = value.unflatten(0, (count, -1))
        tensors[key] = slots[torch.tensor(_FROM_MMDET)].flatten(0, 1)
