"""Write the two files of an ncnn network: .param (text) and .bin (weights).

.param: the number 7767517, the counts of layers and blobs, then one line per
layer: type, name, counts of inputs and outputs, their names, ``id=value``
for a number and ``-23300-id=count,value,...`` for several. .bin: the weights
of the layers in order, little-endian, each padded to four bytes.
"""

import contextlib
import errno
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.deploy.ncnn.layer import Layer, Value, Weight
from mnv2_mm.utils.errors import InputError

_MAGIC = 7767517
#: Word before a tagged weight, by its type.
TAGS = {
    np.dtype(np.float32): 0x00000000,
    np.dtype(np.float16): 0x01306B47,
    np.dtype(np.int8): 0x000D4B38,
}
_ARRAY = -23300
_LONGEST_NAME = 255  # ncnn reads %255s


def number(value: int | float) -> str:
    """Format a number in at most 15 characters.

    Versions of ncnn up to 2024 cut longer ones off. Nine significant digits
    restore a float32; a decimal point marks a float.

    >>> number(-1 / 3), number(7)
    ('-3.33333343e-01', '7')
    """
    if isinstance(value, int | np.integer):
        return str(int(value))
    with np.errstate(over='ignore'):
        rounded = float(np.float32(value))
    if not math.isfinite(rounded):
        raise InputError(f'{value} cannot be written into an ncnn file')
    return f'{rounded:.8e}'


def _parameter(key: int, value: Value) -> str:
    if isinstance(value, int | float | np.number):
        return f'{key}={number(value)}'
    values = ','.join(number(v) for v in value)
    return f'{_ARRAY - key}={len(value)},{values}'


def _line(layer: Layer) -> str:
    names = [layer.name, *layer.inputs, *layer.outputs]
    for name in names:
        if not name or len(name) > _LONGEST_NAME or len(name.split()) != 1:
            raise InputError(
                f'{name!r}, a name in the graph, cannot be written into an '
                f'ncnn file: it must have 1 to {_LONGEST_NAME} characters '
                'and no space; rename it'
            )
    counts = f'{len(layer.inputs)} {len(layer.outputs)}'
    head = f'{layer.type:<24} {layer.name:<24} {counts}'
    params = [_parameter(k, layer.params[k]) for k in sorted(layer.params)]
    return ' '.join([head, *names[1:], *params])


def param_text(layers: Sequence[Layer]) -> str:
    """Content of the .param file."""
    blobs = sum(len(layer.outputs) for layer in layers)
    lines = [str(_MAGIC), f'{len(layers)} {blobs}', *map(_line, layers)]
    return '\n'.join(lines) + '\n'


def _weight_bytes(weight: Weight) -> bytes:
    values = np.ascontiguousarray(weight.values)
    data = values.astype(values.dtype.newbyteorder('<')).tobytes()
    data += bytes(-len(data) % 4)
    if not weight.tagged:
        if values.dtype != np.float32:
            raise TypeError(f'a weight without a tag is {values.dtype}')
        return data
    return TAGS[values.dtype].to_bytes(4, 'little') + data


def weight_bytes(layers: Sequence[Layer]) -> bytes:
    """Content of the .bin file."""
    return b''.join(_weight_bytes(w) for layer in layers for w in layer.weights)


def save(
    layers: Sequence[Layer], param_path: str | os.PathLike, bin_path: str | os.PathLike
) -> None:
    """Write both files, or neither.

    Raises:
        InputError: a folder is missing or cannot be written to.
    """
    contents = {
        Path(param_path): param_text(layers).encode(),
        Path(bin_path): weight_bytes(layers),
    }
    if len(contents) < 2:
        raise InputError(f'{param_path} is named for both files; name two')
    partial = {p: p.with_name(f'.{p.name}.{os.getpid()}.unfinished') for p in contents}
    try:
        for path, data in contents.items():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, 'it is a folder')
            partial[path].write_bytes(data)
        for path in contents:
            os.replace(partial[path], path)
    except OSError as error:
        raise InputError(
            f'{path} cannot be written ({error.strerror}); name a file in an '
            'existing folder that you may write to'
        ) from error
    finally:
        for name in partial.values():
            with contextlib.suppress(OSError):
                name.unlink()
