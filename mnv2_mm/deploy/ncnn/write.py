"""Write an ONNX graph as the two files of an ncnn network, in pure Python.

    write(model, 'ssdlite.param', 'ssdlite.bin')

The files hold stock layers only and nothing needs to be edited by hand.

.param: the number 7767517, the counts of layers and blobs, then one line per
layer: type, name, counts of inputs and outputs, their names, ``id=value``
for a number and ``-23300-id=count,value,...`` for several. .bin: the weights
of the layers in order, little-endian, each padded to four bytes.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from mnv2_mm.deploy.ncnn import int8
from mnv2_mm.deploy.ncnn.graph import Graph
from mnv2_mm.deploy.ncnn.layer import WEIGHTED, Layer, Value, Weight
from mnv2_mm.deploy.ncnn.rules import lower
from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.utils.errors import InputError

_LARGEST_FP16 = float(np.finfo(np.float16).max)
#: Word before a tagged weight, by its type.
TAGS = {
    np.dtype(np.float32): 0x00000000,
    np.dtype(np.float16): 0x01306B47,
    np.dtype(np.int8): 0x000D4B38,
}
_ARRAY = -23300
_LONGEST_NAME = 255  # bytes; ncnn reads %255s


def write(
    model: onnx.ModelProto,
    param_path: Path,
    bin_path: Path,
    *,
    precision: str = 'fp32',
    calibration: Iterable[np.ndarray] = (),
    keep_float: Sequence[str] = (),
) -> None:
    """Write an ONNX graph as an ncnn network.

    Args:
        model: What ``torch.onnx.export(..., dynamo=False, opset_version=13)``
            exports; fixed size, one image.
        param_path: The layers, written.
        bin_path: The weights, written.
        precision: ``fp32``; ``fp16``, weights stored as float16 and computed
            with in float32; ``int8``, convolutions and fully connected
            layers in int8.
        calibration: For int8: network inputs (1, C, H, W) float32 of about
            100 training images.
        keep_float: For int8: paths of modules that stay in float32, as
            ``('backbone.conv1', 'bbox_head')``.

    Raises:
        InputError: an operator that ncnn does not have, a dynamic shape, no
            calibration image, or an unknown module. No file is written then.
    """
    layers = lower(Graph(model))
    if precision == 'fp16':
        layers = to_fp16(layers)
    elif precision == 'int8':
        kept = int8.kept_in_float(layers, keep_float)
        blobs = int8.quantized_inputs(layers, kept)
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, 'float.param'), Path(folder, 'float.bin')
            save(layers, *files)
            network = Ncnn(files, all_blobs=True)
            ends = int8.activation_ends(network, blobs, calibration)
        layers = int8.to_int8(layers, ends)
    save(layers, param_path, bin_path)


def to_fp16(layers: Iterable[Layer]) -> list[Layer]:
    """Store the weights of convolutions and fully connected layers as float16.

    ncnn converts them to float32 when it loads them. Biases and constants such
    as default boxes stay in float32, and so do weights of a layer with a value
    over 65504.
    """

    def stored(weight: Weight) -> Weight:
        largest = np.abs(weight.values).max(initial=0)
        if not weight.tagged or largest > _LARGEST_FP16:
            return weight
        return replace(weight, values=weight.values.astype(np.float16))

    return [
        replace(layer, weights=list(map(stored, layer.weights)))
        if layer.type in WEIGHTED
        else layer
        for layer in layers
    ]


def number(value: int | float) -> str:
    """Format a number in at most 15 characters.

    Versions of ncnn up to 2024 cut longer ones off. Nine significant digits
    restore a float32; a decimal point marks a float.

    >>> number(-1 / 3), number(7)
    ('-3.33333343e-01', '7')
    """
    if isinstance(value, int | np.integer):
        good, text = -(2**31) <= value < 2**31, str(int(value))
    else:
        with np.errstate(over='ignore'):
            rounded = float(np.float32(value))
        good, text = math.isfinite(rounded), f'{rounded:.8e}'
    if not good:
        raise InputError(f'{value} cannot be written into an ncnn file')
    return text


def _parameter(key: int, value: Value) -> str:
    if isinstance(value, int | float | np.number):
        return f'{key}={number(value)}'
    values = ','.join(number(v) for v in value)
    return f'{_ARRAY - key}={len(value)},{values}'


def _line(layer: Layer) -> str:
    names = [layer.name, *layer.inputs, *layer.outputs]
    for name in names:
        # what is printable can be encoded, and has no white space but a blank
        good = name.isprintable() and ' ' not in name
        if not good or not 1 <= len(name.encode()) <= _LONGEST_NAME:
            raise InputError(
                f'{name!r}, a name in the graph, must have 1 to {_LONGEST_NAME} bytes, '
                'printable and no space; rename it'
            )
    counts = f'{len(layer.inputs)} {len(layer.outputs)}'
    head = f'{layer.type:<24} {layer.name:<24} {counts}'
    params = [_parameter(*pair) for pair in sorted(layer.params.items())]
    return ' '.join([head, *names[1:], *params])


def param_text(layers: Sequence[Layer]) -> str:
    """Content of the .param file.

    Raises:
        InputError: a name or number that ncnn cannot read, or a name of two blobs.
    """
    blobs = Counter(name for layer in layers for name in layer.outputs)
    if twice := [name for name, count in blobs.items() if count > 1]:
        raise InputError(f'{twice[0]!r} names two blobs of the network; rename one')
    lines = ['7767517', f'{len(layers)} {len(blobs)}', *map(_line, layers)]
    return '\n'.join(lines) + '\n'


def _weight_bytes(weight: Weight) -> bytes:
    values = weight.values
    data = values.astype(values.dtype.newbyteorder('<')).tobytes()
    tag = TAGS[values.dtype].to_bytes(4, 'little') if weight.tagged else b''
    return tag + data + bytes(-len(data) % 4)


def weight_bytes(layers: Sequence[Layer]) -> bytes:
    """Content of the .bin file."""
    return b''.join(_weight_bytes(w) for layer in layers for w in layer.weights)


def save(layers: Sequence[Layer], param_path: Path, bin_path: Path) -> None:
    """Write both files."""
    text, data = param_text(layers), weight_bytes(layers)
    param_path.write_text(text, encoding='utf-8')
    bin_path.write_bytes(data)
