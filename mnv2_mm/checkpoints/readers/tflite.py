"""Read the weights of a TFLite file: float, float16 or 8 bits.

The names in such a file are those of the TensorFlow graph it was made from,
more or less: the converter joins the names of nodes that it fuses with ";".
A filter is named by its scope here (``MobilenetV2/Conv/weights``), as in a
checkpoint of TF-slim, and its bias is the one that the same operator reads.
Batch norm is folded into both.

The schema is that of the package ``tflite``. Flat buffers are offsets into
bytes, so a damaged file shows up as any kind of exception of the access.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from torch import Tensor

from mnv2_mm.checkpoints.readers.tflite_tensors import StoredTensors
from mnv2_mm.checkpoints.source import (
    Anchors,
    Preprocessing,
    Source,
    sha256_of,
)
from mnv2_mm.utils.errors import InputError

_DAMAGED = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    KeyError,
)
_POSTPROCESS = b'TFLite_Detection_PostProcess'


def is_tflite(path: str | os.PathLike) -> bool:
    """Whether the file has the mark of a TFLite flat buffer."""
    with open(path, 'rb') as file:
        return file.read(8)[4:] == b'TFL3'


def read_tflite(path: str | os.PathLike) -> Source:
    """Read every weight, de-quantised.

    Returns:
        Convolutions as ``<scope>/weights`` (H, W, in, out) or
        ``<scope>/depthwise_weights`` (H, W, in, multiplier), biases as
        ``<scope>/biases``; the anchors of a detector; the input's size, and
        its scaling if the input is quantised.

    Raises:
        InputError: the file is no TFLite file, damaged, or quantised in a
            way that is not supported.
    """
    try:
        import tflite
    except ImportError as error:
        raise InputError(
            'reading a TFLite file needs the package tflite, which is not '
            'installed: pip install tflite'
        ) from error
    path = Path(path)
    data = path.read_bytes()
    if data[4:8] != b'TFL3':
        raise InputError(
            f'{path} is no TFLite file: it lacks the mark "TFL3" (it begins '
            f'with {data[:8]!r})'
        )
    try:
        return _Reader(tflite, data, path).read()
    except _DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f'{path} is damaged or cut off ({type(error).__name__}: {error}); '
            'download it again'
        ) from error


class _Reader:
    """One subgraph of a file, on its way into a :class:`Source`."""

    def __init__(self, schema: ModuleType, data: bytes, path: Path) -> None:
        self.schema, self.path = schema, path
        self.stored = StoredTensors(schema, data, path)
        self.model, self.graph = self.stored.model, self.stored.graph
        self.tensors: dict[str, Tensor] = {}
        self.set_aside: dict[str, str] = {}
        self.anchors: Anchors | None = None

    def read(self) -> Source:
        operators = {
            value: name
            for name, value in vars(self.schema.BuiltinOperator).items()
            if isinstance(value, int)
        }
        for code, custom, inputs, outputs in self._operators():
            name = operators.get(code, str(code))
            if name == 'DEQUANTIZE':
                self.stored.widened[outputs[0]] = inputs[0]
            elif name in ('CONV_2D', 'DEPTHWISE_CONV_2D'):
                self._convolution(inputs, depthwise=name != 'CONV_2D')
            elif custom == _POSTPROCESS:
                self._read_anchors(inputs)
            else:
                self._other(name, inputs)
        if not self.tensors:
            raise InputError(f'{self.path} holds no convolution with weights')
        shape, preprocessing = self._input()
        return Source(
            str(self.path),
            'TFLite, ' + ' and '.join(sorted(self.stored.kinds)),
            sha256_of(self.path),
            self.tensors,
            self.set_aside,
            preprocessing=preprocessing,
            input_size=shape,
            anchors=self.anchors,
        )

    def _operators(self) -> Iterator[tuple[int, bytes, list, list]]:
        for i in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(i)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            # codes below 127 stand in an old field of one byte
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            inputs = [int(operator.Inputs(j)) for j in range(operator.InputsLength())]
            outputs = [
                int(operator.Outputs(j)) for j in range(operator.OutputsLength())
            ]
            yield number, code.CustomCode() or b'', inputs, outputs

    def _convolution(self, inputs: list[int], *, depthwise: bool) -> None:
        weight = self.stored.constant(inputs[1])
        if weight.ndim != 4:
            raise InputError(
                f'{self.path} is damaged: the filter '
                f'{self.stored.name(inputs[1])} has {weight.ndim} dimensions'
            )
        scope = self.stored.scope(inputs[1])
        leaf = 'depthwise_weights' if depthwise else 'weights'
        # from (out, H, W, in), or (1, H, W, C) of a depthwise one
        weight = weight.permute(1, 2, 3, 0)
        self._add(f'{scope}/{leaf}', weight.contiguous())
        if len(inputs) > 2 and inputs[2] >= 0:
            self._add(f'{scope}/biases', self.stored.constant(inputs[2]))

    def _add(self, name: str, value: Tensor) -> None:
        if name in self.tensors:
            raise InputError(
                f'{self.path}: two layers have the name {name}; this is not '
                'the plain network that was looked for'
            )
        self.tensors[name] = value

    def _read_anchors(self, inputs: list[int]) -> None:
        boxes = self.stored.constant(inputs[2])
        quantization = self.graph.Tensors(inputs[2]).Quantization()
        step = 0.0
        if quantization is not None and quantization.ScaleLength():
            step = float(quantization.Scale(0))
        self.anchors = Anchors(boxes.reshape(-1, 4), step)
        self.set_aside[self.stored.name(inputs[2])] = (
            'anchors, computed here; compared with the config'
        )

    def _other(self, operator: str, inputs: list[int]) -> None:
        """Constants of other layers: shapes and sizes, or what is unknown."""
        for index in inputs:
            if index < 0 or not self.stored.content(index):
                continue
            name = self.stored.name(index)
            if self.stored.kind(index) in ('int32', 'int64', 'bool'):
                self.set_aside[name] = f'argument of {operator}'
            else:
                self._add(name, self.stored.constant(index))

    def _input(self) -> tuple[tuple[int, int] | None, Preprocessing | None]:
        """Size of the input, and what 8-bit pixels stand for."""
        if not self.graph.InputsLength():
            return None, None
        index = self.graph.Inputs(0)
        tensor = self.graph.Tensors(index)
        size = None
        if tensor.ShapeLength() == 4:
            size = (int(tensor.Shape(1)), int(tensor.Shape(2)))
        # int8 pixels are uint8 ones less 128
        shift = {'uint8': 0.0, 'int8': 128.0}.get(self.stored.kind(index))
        quantization = tensor.Quantization()
        if shift is None or quantization is None or not quantization.ScaleLength():
            return size, None
        scale = float(quantization.Scale(0))
        if not scale > 0:
            raise ValueError(f'the input has the scale {scale}')
        mean = int(quantization.ZeroPoint(0)) + shift
        return size, Preprocessing((mean,) * 3, (1 / scale,) * 3)
