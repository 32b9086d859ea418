"""Keys of complete models in PyTorch code bases: heads, and which code base it is."""

import re
from collections.abc import Collection

import torch
from torch import Tensor

from mnv2_mm.checkpoints.key_maps.backbones import KeyMap, key_map_of, known_key_maps
from mnv2_mm.checkpoints.source import Source, Translation
from mnv2_mm.utils.errors import InputError


def translate_torch(source: Source) -> Translation:
    """Give the tensors of a PyTorch file our keys.

    Shapes are not compared: a layer of the same name is translated, even if it will
    not fit (mmdet's first predictors, mmseg's 3x3 bottleneck).
    """
    key_map = model_key_map_of(source.tensors)
    if key_map is None:
        shown = ', '.join(list(source.tensors)[:3]) or 'none'
        raise InputError(
            f'{source.path} holds no MobileNetV2 with known names (its keys begin with '
            f'{shown}); rename them to those of {known_key_maps()}'
        )
    result = Translation(
        key_map.name,
        bn_eps={} if key_map.bn_eps is None else {'': key_map.bn_eps},
        padding=key_map.padding,
        preprocessing=key_map.preprocessing,
    )
    for key, value in source.tensors.items():
        ours = key_map.convert(key)
        ours = f'backbone.{ours}' if ours else _head(key)
        if ours is None:
            if re.match(r'(backbone\.)?(features|blocks|layer\d+)\.', key):
                raise InputError(
                    f'{source.path} has {key_map.name} names, but {key} is in no '
                    'MobileNetV2: it is another network, or one of another depth'
                )
            result.unused.append(key)
            continue
        if ours in result.tensors:
            raise InputError(
                f'{source.path}: both {result.origin[ours]} and {key} are {ours} here; '
                'remove the one that is not meant'
            )
        result.tensors[ours] = value
        result.origin[ours] = key
    if key_map.name == 'mmdet':
        _order_anchors(result.tensors)
    return result


def model_key_map_of(keys: Collection[str]) -> KeyMap | None:
    """The key map of a complete model, or None if none knows the keys.

    mmseg and mmpretrain differ in their heads. mmdet's backbone has our keys; its
    SSDLite has other keys in the neck, and only this project has heads of the other
    two hosts on such a backbone.
    """
    key_map = key_map_of(keys)
    if key_map is None:
        return None
    if key_map.name == 'mmpretrain or mmseg':
        if _any(r'decode_head\.', keys):
            return key_map._replace(name='mmseg')
        if _any(r'head\.fc\.', keys):
            return key_map._replace(name='mmpretrain')
    if key_map.name == 'mmdet or mnv2_mm':
        if _any(r'neck\.extra_layers\.\d+\.1\.depthwise_conv\.', keys):
            return key_map._replace(name='mmdet')
        key_map = key_map._replace(padding=None, preprocessing=None)
        if _any(r'neck\.extra_layers\.\d+\.2\.|decode_head\.|head\.', keys):
            return key_map._replace(name='mnv2_mm', bn_eps=None)
    return key_map


def _any(pattern: str, keys: Collection[str]) -> bool:
    return any(re.match(pattern, key) for key in keys)


def _head(key: str) -> str | None:
    """Our key of a tensor in a head or neck, None if no layer corresponds to it."""
    # torchvision (after a dropout), timm and d-li14
    match = re.fullmatch(r'classifier\.(?:1\.)?(weight|bias)', key)
    if match:
        return f'head.fc.{match[1]}'
    if not re.match(r'(neck|(\w+_)?head)\.', key):
        return None
    # heads have the names of the hosts here, but for parts of mmdet's SSDLite
    key = re.sub(
        r'^(neck\.extra_layers\.\d+)\.1\.(depthwise|pointwise)_conv\.',
        lambda match: f'{match[1]}.{1 if match[2] == "depthwise" else 2}.',
        key,
    )
    # SSD's predictors are sequences of one layer in mmdet
    pattern = r'^(bbox_head\.(?:cls|reg)_convs\.\d+)\.0\.(weight|bias)$'
    return re.sub(pattern, r'\1.\2', key)


#: Boxes of a cell by aspect ratio (w/h): ours are TF's 1, 2, 1/2, 3, 1/3 and the larger
#: square; mmdet has the larger square second.
_FROM_MMDET = (0, 2, 3, 4, 5, 1)


def _order_anchors(tensors: dict[str, Tensor]) -> None:
    """Put the outputs of mmdet's predictors in our order of the anchors."""
    for key, value in tensors.items():
        match = re.fullmatch(r'bbox_head\.(?:cls|reg)_convs\.(\d+)\.1\.\w+', key)
        codes = match and tensors.get(f'bbox_head.reg_convs.{match[1]}.1.bias')
        count = len(_FROM_MMDET)
        # fewer anchors have no 3 and 1/3; the next step compares the counts
        if codes is None or len(codes) != 4 * count or len(value) % count:
            continue
        slots = value.unflatten(0, (count, -1))
        tensors[key] = slots[torch.tensor(_FROM_MMDET)].flatten(0, 1)
