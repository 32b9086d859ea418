"""Quantize convolutions and fully connected layers, as ncnn2int8 does.

Weights have a scale per output channel (per group in a depthwise layer),
activations one per blob; both are symmetric, -127 to 127. A layer quantizes
its float input itself and returns floats, so single layers can stay in
float. Only where the one next layer is quantized too, int8 is passed on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mnv2_mm.deploy.ncnn.calibration import LEVELS
from mnv2_mm.deploy.ncnn.layer import WEIGHTED, Layer, Weight
from mnv2_mm.utils.errors import InputError

_SCALE_TERM = 8
#: Form of the scales after the weights, by type, as ncnn2int8 writes it.
_FORMS = {'Convolution': 2, 'ConvolutionDepthWise': 1, 'InnerProduct': 2}
_GROUPS = 7
#: Added to the form where a layer returns int8.
_RETURNS_INT8 = 100
_PASSES_ON = ('Convolution', 'ConvolutionDepthWise')


def kept_in_float(layers: Sequence[Layer], parts: Sequence[str]) -> set[str]:
    """Names of the layers of given modules.

    Args:
        layers: The network.
        parts: Paths of modules, ``backbone.conv1`` or ``bbox_head``.

    Raises:
        InputError: a module has no layer that could be int8.
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
                f'keep_float names {part!r}, and no module of this path has '
                f'a convolution; top-level modules are {", ".join(tops)}'
            )
        kept |= found
    return kept


def quantized_inputs(layers: Iterable[Layer], keep: set[str]) -> list[str]:
    """Blobs that become int8: the inputs of the layers not in ``keep``."""
    return [
        layer.inputs[0]
        for layer in layers
        if layer.type in WEIGHTED and layer.name not in keep
    ]


def to_int8(layers: Iterable[Layer], ends: Mapping[str, float]) -> list[Layer]:
    """Quantize the layers whose input has a range.

    Args:
        layers: With float32 weights.
        ends: End of the range of each blob, from
            :func:`~mnv2_mm.deploy.ncnn.calibration.activation_ends`.
    """
    return _pass_int8_on(
        [
            _quantized(layer, ends[layer.inputs[0]])
            if layer.type in WEIGHTED and ends.get(layer.inputs[0], 0) > 0
            else layer
            for layer in layers
        ]
    )


def _pass_int8_on(layers: Sequence[Layer]) -> list[Layer]:
    """Let a layer return int8 where its only reader quantizes it anyway.

    The reader's scale then follows the layer's own. This saves the float32
    blob, which takes four times the memory.
    """
    able = [
        layer
        for layer in layers
        if layer.type in _PASSES_ON and _SCALE_TERM in layer.params
    ]
    # a blob with several readers has a Split layer, so there is one
    readers = {layer.inputs[0]: layer for layer in able}
    names = {layer.name for layer in able}
    found = []
    for layer in layers:
        reader = readers.get(layer.outputs[0])
        if layer.name in names and reader is not None:
            term = layer.params[_SCALE_TERM] + _RETURNS_INT8
            layer = replace(
                layer,
                params={**layer.params, _SCALE_TERM: term},
                weights=[*layer.weights, reader.weights[-1]],
            )
        found.append(layer)
    return found


def _quantized(layer: Layer, end: float) -> Layer:
    weight, *bias = layer.weights
    groups = layer.params.get(_GROUPS, 1)
    rows = groups if layer.type == 'ConvolutionDepthWise' else None
    values = weight.values.reshape(rows or weight.values.shape[0], -1)
    largest = np.abs(values).max(1)
    # for a channel of zeros any scale is right
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
