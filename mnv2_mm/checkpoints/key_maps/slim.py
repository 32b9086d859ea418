"""TF-slim's keys of the three networks, in all files of TensorFlow.

One table for TF-slim's ``MobilenetV2``, the Object Detection API's
``ssdlite_mobilenet_v2`` and DeepLab's ``mobilenet_v2``, in checkpoints, frozen graphs
and TFLite files. Layouts change with the keys: kernels from (H, W, in, out) to
(out, in, H, W), box codes from (y, x, h, w) to (x, y, w, h), the class slot of the
background from first to last.
"""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from mnv2_mm.checkpoints.key_maps.backbones import BLOCKS
from mnv2_mm.checkpoints.source import (
    MINUS_ONE_TO_ONE,
    Preprocessing,
    Source,
    Translation,
)
from mnv2_mm.utils.errors import InputError

#: :attr:`Translation.key_map` of these networks.
SLIM = 'TF-slim'
#: TF's epsilons; DeepLab's head is not built in the scope of its backbone.
BN_EPS = {'': 1e-3, 'decode_head.': 1e-5}
#: Ids that no annotation of COCO has. Detectors of the Object Detection API number
#: COCO's classes by their ids, 1 to 90; mmdet numbers the 80 that exist.
UNUSED_COCO_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
#: Slots of the 80 classes and, last, of the background (id 91 here).
_COCO_SLOTS = [i - 1 for i in range(1, 92) if i not in UNUSED_COCO_IDS]

_BRANCHES = dict(expand='expand', depthwise='depthwise', project='linear')
#: Our layer by scope, below MobilenetV2/.
_BACKBONE = {'Conv': 'backbone.conv1', 'Conv_1': 'backbone.conv2'} | {
    f'expanded_conv{f"_{i}" if i else ""}/{theirs}': f'backbone.{block}.{ours}_conv'
    for i, block in enumerate(BLOCKS)
    for theirs, ours in _BRANCHES.items()
}
_DEEPLAB = {
    'image_pooling': 'decode_head.image_pool.1',
    'concat_projection': 'decode_head.bottleneck',
    **{f'aspp{i}': f'decode_head.aspp_modules.{i}' for i in range(10)},
}
#: Layers without a batch norm.
_CLASSIFIERS = {
    'logits/semantic': 'decode_head.conv_seg',
    'Logits/Conv2d_1c_1x1': 'head.fc',
    'Logits': 'head.fc',  # as a fully connected layer
}
#: Scopes of TensorFlow 2's research code (Keras), whose blocks count from 1.
_KERAS_ENDS = {
    'Conv2d_0_0': 'Conv',
    'Conv2d_18_1': 'Conv_1',
    'Conv2d_1x1_output': 'Logits/Conv2d_1c_1x1',
}
_KERAS = _KERAS_ENDS | {
    f'expanded_conv_{i + 1}/{branch}': f'expanded_conv{f"_{i}" if i else ""}/{branch}'
    for i in range(len(BLOCKS))
    for branch in _BRANCHES
}
_KERAS_PIXELS = Preprocessing((127.0,) * 3, (127.5,) * 3)
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
    name: str
    #: Whether a batch norm follows (then the convolution has no bias).
    norm: bool = True


def _is_keras(scopes: Iterable[str]) -> bool:
    return any(scope.rpartition('/')[2] in _KERAS_ENDS for scope in scopes)


def _from_keras(scope: str) -> str:
    """TF-slim's scope for one of Keras."""
    ends = scope.rpartition('/')[2], '/'.join(scope.split('/')[-2:])
    return next((f'MobilenetV2/{_KERAS[e]}' for e in ends if e in _KERAS), scope)


def _layer_of(scope: str, scopes: Collection[str]) -> _Layer | None:
    """Our layer for a scope, or None if there is none."""
    name = scope.rpartition('MobilenetV2/')[2]
    if name in _CLASSIFIERS:
        return _Layer(_CLASSIFIERS[name], norm=False)
    if name != scope and name in _BACKBONE:
        return _Layer(_BACKBONE[name])
    if scope in _DEEPLAB:
        return _Layer(_DEEPLAB[scope])
    # in SSDLite a depthwise layer comes before this one, in SSD there is none
    depthwise = scope.endswith('_depthwise')
    lite = f'{scope}_depthwise' in scopes
    name = scope.removesuffix('_depthwise')
    match = re.fullmatch(
        r'(?:.*/)?layer_19_([12])_Conv2d_([2-5])_(?:1x1|3x3_s2)_\d+', name
    )
    if match:
        step = int(match[1]) - 1 + (match[1] == '2' and lite)
        return _Layer(f'neck.extra_layers.{int(match[2]) - 2}.{step}')
    match = re.fullmatch(
        r'(?:.*/)?BoxPredictor_(\d)/(BoxEncoding|Class)Predictor', name
    )
    if match:
        convs = 'reg_convs' if match[2] == 'BoxEncoding' else 'cls_convs'
        layer = f'bbox_head.{convs}.{match[1]}'
        if depthwise:
            return _Layer(f'{layer}.0')
        return _Layer(f'{layer}.1' if lite else layer, norm=False)
    return None


def is_slim(names: Iterable[str]) -> bool:
    """Whether the names are those of one of the three networks."""
    scopes = [match['scope'] for match in map(_LEAF.fullmatch, names) if match]
    return _is_keras(scopes) or any(_layer_of(scope, ()) for scope in scopes)


def translate_slim(source: Source, *, background_slot: bool = True) -> Translation:
    """Give the tensors of a TensorFlow file our keys and layouts.

    ``background_slot``: the first class slot of a detector is the background.
    """
    found = {name: _LEAF.fullmatch(name) for name in source.tensors}
    scopes = {match['scope'] for match in found.values() if match}
    keras = _is_keras(scopes)
    anchors = _anchors_per_cell(source, scopes)
    result = Translation(
        SLIM,
        bn_eps=dict(BN_EPS),
        padding='same',
        preprocessing=source.preprocessing
        or (_KERAS_PIXELS if keras else MINUS_ONE_TO_ONE),
    )
    for name, match in found.items():
        scope = match['scope'] if match else ''
        layer = _layer_of(_from_keras(scope) if keras else scope, scopes)
        if not match or not layer:
            result.unused.append(name)
            continue
        value = source.tensors[name]
        key = _key(layer, match['leaf'])
        try:
            value = _layout(value, match['leaf'], key)
            if key.startswith('bbox_head.') and not layer.norm:
                level = key.split('.')[2]
                value = _slots(value, key, anchors[level], background_slot)
        except (RuntimeError, KeyError) as error:
            raise InputError(
                f'{source.path}: {name} has the shape {tuple(value.shape)}, which does '
                f'not fit {key}; it is no MobileNetV2, SSDLite or DeepLabv3'
            ) from error
        result.tensors[key] = value.contiguous()
        result.origin[key] = name
    return result


def _key(layer: _Layer, leaf: str) -> str:
    if leaf in _BN_LEAVES:
        return f'{layer.name}.bn.{_BN_LEAVES[leaf]}'
    conv = '.conv' if layer.norm else ''
    return f'{layer.name}{conv}.{"bias" if leaf == "biases" else "weight"}'


def _layout(value: Tensor, leaf: str, key: str) -> Tensor:
    """(H, W, in, out) -> (out, in, H, W); depthwise (H, W, C, 1) -> (C, 1, H, W)."""
    if leaf == 'weights':
        value = value.permute(3, 2, 0, 1)
    elif leaf == 'depthwise_weights':
        value = value.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)
    if key == 'head.fc.weight':
        value = value.flatten(1)  # a linear layer
    return value


def _anchors_per_cell(source: Source, scopes: set[str]) -> dict[str, int]:
    """Anchors per cell of each level: the box predictor has four codes for each."""
    return {
        match[1]: source.tensors[f'{scope}/biases'].numel() // 4
        for scope in scopes
        if (match := re.search(r'BoxPredictor_(\d)/BoxEncodingPredictor$', scope))
        and f'{scope}/biases' in source.tensors
    }


def _slots(value: Tensor, key: str, anchors: int, background_slot: bool) -> Tensor:
    """Box codes (y, x, h, w) to (x, y, w, h), the background slot first to last."""
    by_anchor = value.unflatten(0, (anchors, -1))
    if '.reg_convs.' in key:
        return by_anchor[:, torch.tensor([1, 0, 3, 2])].flatten(0, 1)
    return by_anchor.roll(-1, 1).flatten(0, 1) if background_slot else value


def remove_extra_classes(
    key: str, value: Tensor, wanted: torch.Size
) -> tuple[Tensor, str]:
    """Leave out classes that TF's networks have and the data sets here do not.

    ImageNet classifiers have the background as class 0; detectors have slots for
    :data:`UNUSED_COCO_IDS`.

    Args:
        key: Our key of the weight or bias of a classifier or class predictor.
        value: (rows, ...) of the file, the background last in a detector.
        wanted: Shape in the network.

    Returns:
        The value, and a note on what was left out.
    """
    rows, ours = value.shape[0], wanted[0]
    if value.shape[1:] != wanted[1:]:
        return value, ''
    if key.startswith('head.fc.') and rows == ours + 1:
        return value[1:], ' (without the background)'
    if (
        key.startswith('bbox_head.cls_convs.')
        and rows % 91 == 0
        and ours == rows // 91 * len(_COCO_SLOTS)
    ):
        slots = value.unflatten(0, (-1, 91))[:, torch.tensor(_COCO_SLOTS)]
        return slots.flatten(0, 1), " (without COCO's unused ids)"
    return value, ''
