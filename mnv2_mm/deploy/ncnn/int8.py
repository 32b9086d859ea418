"""Calibrate and quantize an ncnn network, as ncnn2table and ncnn2int8 do.

Weights have a scale per output channel (per group in a depthwise layer),
activations one per blob; both are symmetric, -127 to 127. The range of an
activation ends where the squared error of rounding and clipping together is
least, so that a few outliers do not take the resolution from the rest.

A layer quantizes its float input itself and returns floats, so single layers
can stay in float. Only where the one next layer is quantized too, int8 is
passed on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mnv2_mm.deploy.ncnn.layer import WEIGHTED, Layer, Weight
from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.utils.errors import InputError

_BINS = 4096
_LEVELS = 127  # the largest int8 value; ncnn does not use -128
_CANDIDATES = 128  # for the end of the range


class Histogram:
    """A blob's absolute values over all images.

    The range doubles when a larger value arrives, and pairs of bins merge.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.end = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count values; zeros are exact in int8 and left out."""
        values = np.abs(values[values != 0], dtype=np.float32)
        if not values.size:
            return
        largest = float(values.max())
        if not np.isfinite(largest):
            raise InputError(
                'calibration: a value inside the network is infinite or NaN; '
                'check the images and their normalization'
            )
        if self.end == 0:
            self.end = largest
        while largest > self.end:
            self.counts[: _BINS // 2] = self.counts.reshape(-1, 2).sum(1)
            self.counts[_BINS // 2 :] = 0
            self.end *= 2
        self.counts += np.histogram(values, _BINS, (0, self.end))[0]

    def best_end(self) -> float:
        """End of the range with the least squared error; 0 if all was 0."""
        if self.end == 0:
            return 0.0
        width = self.end / _BINS
        last = int(np.flatnonzero(self.counts)[-1]) + 1
        centers = (np.arange(last) + 0.5) * width
        counts = self.counts[:last]
        ends = last * width * np.arange(1, _CANDIDATES + 1) / _CANDIDATES
        errors = []
        for end in ends:
            step = end / _LEVELS
            rounded = np.minimum(np.round(centers / step), _LEVELS) * step
            errors.append(float(counts @ (centers - rounded) ** 2))
        return float(ends[int(np.argmin(errors))])


def activation_ends(
    network: Ncnn, blobs: Iterable[str], images: Iterable[np.ndarray]
) -> dict[str, float]:
    """Find the end of the range of each blob from inputs (1, C, H, W).

    Raises:
        InputError: there is no image, or a value is not finite.
    """
    histograms = {name: Histogram() for name in blobs}
    image = None
    for image in images:
        for name, values in network.run(image, histograms).items():
            histograms[name].add(values)
    if image is None:
        raise InputError('int8 needs calibration images; give about 100')
    return {name: h.best_end() for name, h in histograms.items()}


_SCALE_TERM = 8
#: Form of the scales after the weights, by type, as ncnn2int8 writes it.
_FORMS = {'Convolution': 2, 'ConvolutionDepthWise': 1, 'InnerProduct': 2}
_GROUPS = 7
_RETURNS_INT8 = 100  # added to the form where a layer returns int8
_PASSES_ON = ('Convolution', 'ConvolutionDepthWise')


def kept_in_float(layers: Sequence[Layer], parts: Sequence[str]) -> set[str]:
    """Names of the layers of modules such as ``backbone.conv1``.

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
    """Quantize the layers whose input has a range, see :func:`activation_ends`."""
    found = [
        _quantized(layer, ends[layer.inputs[0]])
        if layer.type in WEIGHTED and ends.get(layer.inputs[0], 0) > 0
        else layer
        for layer in layers
    ]
    able = [x for x in found if x.type in _PASSES_ON and _SCALE_TERM in x.params]
    # a layer returns int8 where its reader quantizes it anyway, and has the
    # reader's scale too; a blob with several readers has a Split layer
    scales = {layer.inputs[0]: layer.weights[-1] for layer in able}
    for layer in able:
        if layer.outputs[0] in scales:
            layer.params[_SCALE_TERM] += _RETURNS_INT8
            layer.weights.append(scales[layer.outputs[0]])
    return found


def _quantized(layer: Layer, end: float) -> Layer:
    weight, *bias = layer.weights
    groups = layer.params.get(_GROUPS, 1)
    rows = groups if layer.type == 'ConvolutionDepthWise' else None
    values = weight.values.reshape(rows or weight.values.shape[0], -1)
    largest = np.abs(values).max(1)
    # for a channel of zeros any scale is right
    scales = (_LEVELS / np.where(largest > 0, largest, _LEVELS)).astype(np.float32)
    whole = np.clip(np.rint(values * scales[:, None]), -_LEVELS, _LEVELS)
    stored = whole.astype(np.int8).reshape(weight.values.shape)
    activation = np.array([_LEVELS / end], np.float32)
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
