"""int8 convolutions and fully connected layers, as ncnn2int8 writes them.

Weights have a scale per output channel (per group in a depthwise layer),
activations one per blob; both are symmetric, -127 to 127. A layer turns its
float input into int8 itself and gives floats, so layers can stay in float
one by one; only where the next one takes int8 anyway it is given that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mnv2_mm.deploy.ncnn.calibration import LEVELS
from mnv2_mm.deploy.ncnn.layer import WEIGHTED, Layer, Weight
from mnv2_mm.utils.errors import InputError

_SCALE_TERM = 8
#: Which form of scales follows the weights; ncnn2int8's choice by type.
_FORMS = {'Convolution': 2, 'ConvolutionDepthWise': 1, 'InnerProduct': 2}
_GROUPS = 7
#: Added to the form where a layer gives int8.
_GIVES_INT8 = 100
_HANDS_ON = ('Convolution', 'ConvolutionDepthWise')


def kept_in_float(layers: Sequence[Layer], parts: Sequence[str]) -> set[str]:
    """Names of the layers below given modules.

    Args:
        layers: The network.
        parts: Paths of modules, ``backbone.conv1`` or ``bbox_head``.

    Raises:
        InputError: a part has no layer that could be int8.
    """
    able = [layer for layer in layers if layer.type in WEIGHTED]
    kept: set[str] = set()
    for part in parts:
        found = {
            layer.name for layer in able if f'{layer.module}.'.startswith(f'{part}.')
        }
        if not found:
            tops = sorted({layer.module.partition('.')[0] for layer in able})
            raise InputError(
                f'keep_float names {part!r}, but no convolution is below a '
                f'module of this path; they are below {", ".join(tops)}'
            )
        kept |= found
    return kept


def quantised_inputs(layers: Iterable[Layer], keep: Iterable[str]) -> list[str]:
    """Blobs that become int8: the inputs of the layers that are not kept."""
    keep = set(keep)
    return [
        layer.inputs[0]
        for layer in layers
        if layer.type in WEIGHTED and layer.name not in keep
    ]


def to_int8(layers: Iterable[Layer], ends: Mapping[str, float]) -> list[Layer]:
    """Quantise the layers whose input has a range.

    Args:
        layers: With float32 weights.
        ends: End of the range of each blob, as
            :func:`~mnv2_mm.deploy.ncnn.calibration.activation_ends` gives.
    """
    return handed_on(
        [
            _quantised(layer, ends[layer.inputs[0]])
            if layer.type in WEIGHTED and ends.get(layer.inputs[0], 0) > 0
            else layer
            for layer in layers
        ]
    )


def handed_on(layers: Sequence[Layer]) -> list[Layer]:
    """Let a layer give int8 where the only reader would turn it into that.

    The reader's scale then stands behind the layer's own, and the way over
    float32, which takes four times the memory, is saved.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    found = []
    for layer in layers:
        following = readers.get(layer.outputs[0], ())
        if (
            layer.type in _HANDS_ON
            and _SCALE_TERM in layer.params
            and len(following) == 1
            and following[0].type in _HANDS_ON
            and _SCALE_TERM in following[0].params
        ):
            scale = following[0].weights[-1]  # as it was quantised
            term = layer.params[_SCALE_TERM] + _GIVES_INT8
            layer = replace(
                layer,
                params={**layer.params, _SCALE_TERM: term},
                weights=[*layer.weights, scale],
            )
        found.append(layer)
    return found


def _quantised(layer: Layer, end: float) -> Layer:
    weight, *bias = layer.weights
    groups = layer.params.get(_GROUPS, 1)
    rows = groups if layer.type == 'ConvolutionDepthWise' else None
    values = weight.values.reshape(rows or weight.values.shape[0], -1)
    largest = np.abs(values).max(1)
    # of a channel without weights any scale is right
    scales = (LEVELS / np.where(largest > 0, largest, LEVELS)).astype(np.float32)
    whole = np.clip(np.rint(values * scales[:, None]), -LEVELS, LEVELS)
    stored = whole.astype(np.int8).reshape(weight.values.shape)
    activation = np.array([LEVELS / end], np.float32)
    return replace(
        layer,
        params={**layer.params, _SCALE_TERM: _FORMS[layer.type]},
        weights=[
            Weight(stored, tagged=True),
            *bias,
            Weight(scales),
            Weight(activation),
        ],
    )
