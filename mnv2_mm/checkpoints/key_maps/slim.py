"""TensorFlow's names of the three networks, as TF-slim gives them.

One table for checkpoints, frozen graphs and TFLite files of TF-slim's
``MobilenetV2``, the Object Detection API's ``ssdlite_mobilenet_v2`` and
DeepLab's ``mobilenet_v2``. Layouts change with the names: kernels from
(H, W, in, out) to (out, in, H, W), box codes from (y, x, h, w) to
(x, y, w, h), the background's class slot from the first to the last.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mnv2_mm.checkpoints.key_maps.backbones import block_name
from mnv2_mm.checkpoints.source import (
    MINUS_ONE_TO_ONE,
    Source,
    Translation,
)
from mnv2_mm.utils.errors import InputError

#: TF's epsilons; DeepLab's head is not built in its backbone's scope.
BN_EPS = {'': 1e-3, 'decode_head.': 1e-5}

_BRANCHES = {
    'expand': 'expand_conv',
    'depthwise': 'depthwise_conv',
    'project': 'linear_conv',
}
_BN_LEAVES = {
    'BatchNorm/gamma': 'weight',
    'BatchNorm/beta': 'bias',
    'BatchNorm/moving_mean': 'running_mean',
    'BatchNorm/moving_variance': 'running_var',
}
_LEAF = re.compile(
    r'(?P<scope>.+)/(?P<leaf>weights|depthwise_weights|biases|'
    r'BatchNorm/(?:gamma|beta|moving_mean|moving_variance))'
)


class _Layer(NamedTuple):
    """Where a scope's variables go."""

    name: str
    #: Whether a batch norm follows (then the convolution has no bias).
    norm: bool = True


def _backbone(match: re.Match) -> _Layer | None:
    if match['stem']:
        name = 'conv2' if match['stem'] == 'Conv_1' else 'conv1'
        return _Layer(f'backbone.{name}')
    index = int(match['index'] or 0)
    if index > 16:
        return None
    return _Layer(f'backbone.{block_name(index + 2)}.{_BRANCHES[match["branch"]]}')


def _extra(match: re.Match) -> _Layer:
    """The 1x1, the depthwise 3x3 and the 1x1 behind it (or a whole 3x3)."""
    step = 0 if match['step'] == '1' else 1
    if step and not match['depthwise'] and match['lite']:
        step = 2
    return _Layer(f'neck.extra_layers.{int(match["level"]) - 2}.{step}')


def _predictor(match: re.Match) -> _Layer:
    convs = 'reg_convs' if match['what'] == 'BoxEncoding' else 'cls_convs'
    name = f'bbox_head.{convs}.{match["level"]}'
    if match['depthwise']:
        return _Layer(f'{name}.0')
    return _Layer(f'{name}.1' if match['lite'] else name, norm=False)


def _aspp(match: re.Match) -> _Layer:
    return _Layer(f'decode_head.aspp_modules.{match["branch"]}')


#: A "+" behind a scope stands for the answer to: is this SSDLite, with a
#: depthwise layer beside this one?
_SCOPES: tuple[tuple[str, Callable[[re.Match], _Layer | None]], ...] = (
    (
        r'(?:.*/)?MobilenetV2/(?:(?P<stem>Conv|Conv_1)|expanded_conv'
        r'(?:_(?P<index>\d+))?/(?P<branch>expand|depthwise|project))\+?',
        _backbone,
    ),
    (
        r'(?:.*/)?layer_19_(?P<step>[12])_Conv2d_(?P<level>[2-5])_'
        r'(?:1x1|3x3_s2)_\d+(?P<depthwise>_depthwise)?(?P<lite>\+)?',
        _extra,
    ),
    (
        r'(?:.*/)?BoxPredictor_(?P<level>\d)/(?P<what>BoxEncoding|Class)'
        r'Predictor(?P<depthwise>_depthwise)?(?P<lite>\+)?',
        _predictor,
    ),
    (r'aspp(?P<branch>\d)', _aspp),
    (r'image_pooling', lambda _: _Layer('decode_head.image_pool.1')),
    (r'concat_projection', lambda _: _Layer('decode_head.bottleneck')),
    (
        r'logits/semantic',
        lambda _: _Layer('decode_head.conv_seg', norm=False),
    ),
    (
        r'(?:.*/)?MobilenetV2/Logits/Conv2d_1c_1x1',
        lambda _: _Layer('head.fc', norm=False),
    ),
)


def _layer_of(scope: str, scopes: set[str]) -> _Layer | None:
    """Our layer for a scope, or None if there is none."""
    marked = scope + '+' * (f'{scope}_depthwise' in scopes)
    for pattern, layer in _SCOPES:
        match = re.fullmatch(pattern, marked)
        if match:
            return layer(match)
    return None


def is_slim(names: list[str]) -> bool:
    """Whether the names are those of one of the three networks."""
    return any(
        match and _layer_of(match['scope'], set())
        for match in map(_LEAF.fullmatch, names)
    )


def translate_slim(source: Source, *, background_slot: bool = True) -> Translation:
    """Give the tensors of a TensorFlow file our names and layouts.

    Args:
        source: Of ``read_tflite`` or ``read_tensorflow``.
        background_slot: Whether the first class slot of a detector is the
            background.

    Raises:
        InputError: a tensor does not have the shape that its name needs.
    """
    found = {name: _LEAF.fullmatch(name) for name in source.tensors}
    scopes = {match['scope'] for match in found.values() if match}
    anchors = _anchors_a_cell(source, scopes)
    result = Translation(
        'TF-slim',
        {},
        {},
        bn_eps=dict(BN_EPS),
        padding='same',
        preprocessing=source.preprocessing or MINUS_ONE_TO_ONE,
    )
    for name, match in found.items():
        layer = match and _layer_of(match['scope'], scopes)
        if not layer:
            result.unused.append(name)
            continue
        value = source.tensors[name]
        key = _key(layer, match['leaf'])
        try:
            value = _layout(value, match['leaf'], key)
            if key.startswith('bbox_head.') and not layer.norm:
                level = re.search(r'_convs\.(\d)', key)[1]
                value = _slots(value, key, anchors[level], background_slot)
        except (RuntimeError, KeyError) as error:
            raise InputError(
                f'{source.path}: {name} has the shape {tuple(value.shape)}, '
                f'which does not fit {key}; the file is not one of '
                "TensorFlow's MobileNetV2, SSDLite or DeepLabv3"
            ) from error
        result.tensors[key] = value.contiguous()
        result.origin[key] = (name,)
    return result


def _key(layer: _Layer, leaf: str) -> str:
    if leaf in _BN_LEAVES:
        return f'{layer.name}.bn.{_BN_LEAVES[leaf]}'
    conv = '.conv' if layer.norm else ''
    return f'{layer.name}{conv}.{"bias" if leaf == "biases" else "weight"}'


def _layout(value: Tensor, leaf: str, key: str) -> Tensor:
    """(H, W, in, out) -> (out, in, H, W); depthwise (H, W, C, 1) likewise."""
    if leaf == 'weights':
        value = value.permute(3, 2, 0, 1)
    elif leaf == 'depthwise_weights':
        value = value.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)
    if key == 'head.fc.weight':
        value = value.flatten(1)  # a linear layer
    return value


def _anchors_a_cell(source: Source, scopes: set[str]) -> dict[str, int]:
    """Boxes a cell of each level: the box predictor has four codes each."""
    return {
        match[1]: source.tensors[f'{scope}/biases'].numel() // 4
        for scope in scopes
        if (match := re.search(r'BoxPredictor_(\d)/BoxEncodingPredictor$', scope))
        and f'{scope}/biases' in source.tensors
    }


def _slots(value: Tensor, key: str, anchors: int, background_slot: bool) -> Tensor:
    """Reorder the outputs of a predictor."""
    by_anchor = value.unflatten(0, (anchors, -1))
    if '.reg_convs.' in key:
        return by_anchor[:, torch.tensor([1, 0, 3, 2])].flatten(0, 1)
    if not background_slot:
        return value
    return background_to_last(value, by_anchor.shape[1] - 1)


def background_to_last(weight: Tensor, num_classes: int) -> Tensor:
    """Reorder class slots from TF (background first) to mmdet (background last).

    Args:
        weight: (A * (num_classes + 1), ...), the weight or bias of a class
            predictor with A anchors per cell.
        num_classes: Classes without the background.
    """
    slots = weight.reshape(-1, num_classes + 1, *weight.shape[1:])
    return slots.roll(-1, dims=1).reshape(weight.shape)
