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
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from mnv2_mm.errors import InputError
from mnv2_mm.weights.source import (
    Anchors,
    Preprocessing,
    Source,
    sha256_of,
)

_DAMAGED = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    KeyError,
)
#: Where a filter's name shows the scope of its layer, the surest first.
_SCOPES = (
    re.compile(r'(.+)/(?:depthwise_)?weights(?:_quant)?(?:/.*)?'),
    re.compile(r'(.+)/(?:Conv2D|depthwise)(?:_Fold)?\d*'),
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
        self.schema, self.data, self.path = schema, data, path
        self.model = schema.Model.GetRootAsModel(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise InputError(
                f'{path} has {self.model.SubgraphsLength()} subgraphs; only '
                'plain networks of one are supported'
            )
        self.graph = self.model.Subgraphs(0)
        self.tensors: dict[str, Tensor] = {}
        self.set_aside: dict[str, str] = {}
        self.kinds: set[str] = set()
        self.anchors: Anchors | None = None
        #: What a DEQUANTIZE operator reads, by the tensor that it writes.
        self.widened: dict[int, int] = {}

    def read(self) -> Source:
        operators = {
            value: name
            for name, value in vars(self.schema.BuiltinOperator).items()
            if isinstance(value, int)
        }
        for code, custom, inputs, outputs in self._operators():
            name = operators.get(code, str(code))
            if name == 'DEQUANTIZE':
                self.widened[outputs[0]] = inputs[0]
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
            'TFLite, ' + ' and '.join(sorted(self.kinds)),
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
            inputs = [
                int(operator.Inputs(j)) for j in range(operator.InputsLength())
            ]
            outputs = [
                int(operator.Outputs(j))
                for j in range(operator.OutputsLength())
            ]
            yield number, code.CustomCode() or b'', inputs, outputs

    def _name(self, index: int) -> str:
        return self.graph.Tensors(index).Name().decode(errors='replace')

    def _bytes(self, index: int) -> bytes:
        """Content of a constant, empty for what is computed."""
        buffer = self.model.Buffers(self.graph.Tensors(index).Buffer())
        if buffer.DataLength():
            return buffer.DataAsNumpy().tobytes()
        # beyond 2 GB the content lies behind the flat buffer
        offset = getattr(buffer, 'Offset', int)()
        if offset > 1:
            return self.data[offset : offset + buffer.Size()]
        return b''

    def _constant(self, index: int) -> Tensor:
        """A constant as floats, see :func:`_dequantised`."""
        index = self.widened.get(index, index)
        tensor = self.graph.Tensors(index)
        name = self._name(index)
        kinds = {
            value: kind.lower()
            for kind, value in vars(self.schema.TensorType).items()
            if isinstance(value, int)
        }
        kind = kinds.get(tensor.Type(), str(tensor.Type()))
        content = self._bytes(index)
        if not content:
            raise InputError(
                f'{self.path}: {name} is computed by the network and not '
                'stored; only weights that are constants can be read'
            )
        shape = [tensor.Shape(j) for j in range(tensor.ShapeLength())]
        supported = ('float32', 'float16', 'uint8', 'int8', 'int32', 'int64')
        quantization = tensor.Quantization()
        custom = quantization is not None and quantization.DetailsType()
        if kind not in supported or tensor.Sparsity() is not None or custom:
            what = 'sparse ' if tensor.Sparsity() is not None else ''
            what += 'custom-quantised ' if custom else ''
            raise InputError(
                f'{self.path}: {name} is stored as {what}{kind}; supported '
                f'are {", ".join(supported)}, one scale a tensor or a '
                'channel. Convert the network to TFLite again as float32, or '
                'with the usual 8 bits'
            )
        values = np.frombuffer(content, np.dtype(kind).newbyteorder('<'))
        if values.size != np.prod(shape, dtype=object):
            raise InputError(
                f'{self.path} is damaged: {name} should have the shape '
                f'{tuple(shape)} but holds {values.size} values'
            )
        if kind not in ('int32', 'int64'):
            self.kinds.add('8 bits' if kind.endswith('t8') else kind)
        values = values.reshape(shape)
        if not kind.startswith('float'):
            values = self._dequantised(values, quantization, name)
        return torch.from_numpy(values.astype(np.float32))

    def _dequantised(
        self, values: np.ndarray, quantization: object, name: str
    ) -> np.ndarray:
        """(q - zero point) * scale, one pair a tensor or a channel."""
        count = quantization.ScaleLength() if quantization else 0
        if not count:
            raise InputError(
                f'{self.path}: {name} holds integers without a scale'
            )
        scale = quantization.ScaleAsNumpy().astype(np.float64)
        zero = np.zeros(1, np.int64)
        if quantization.ZeroPointLength():
            zero = quantization.ZeroPointAsNumpy()
        if count > 1:
            axis = quantization.QuantizedDimension()
            if count != values.shape[axis]:
                raise InputError(
                    f'{self.path} is damaged: {name} of shape '
                    f'{values.shape} has {count} scales for axis {axis}'
                )
            shape = [1] * values.ndim
            shape[axis] = count
            scale = scale.reshape(shape)
            zero = zero.reshape(shape) if len(zero) == count else zero
        return (values.astype(np.float64) - zero) * scale

    def _convolution(self, inputs: list[int], *, depthwise: bool) -> None:
        weight = self._constant(inputs[1])
        if weight.ndim != 4:
            raise InputError(
                f'{self.path} is damaged: the filter '
                f'{self._name(inputs[1])} has {weight.ndim} dimensions'
            )
        scope = self._scope(inputs[1])
        if depthwise:  # (1, H, W, C)
            leaf, weight = 'depthwise_weights', weight.permute(1, 2, 3, 0)
        else:  # (out, H, W, in)
            leaf, weight = 'weights', weight.permute(1, 2, 3, 0)
        self._add(f'{scope}/{leaf}', weight.contiguous())
        if len(inputs) > 2 and inputs[2] >= 0:
            self._add(f'{scope}/biases', self._constant(inputs[2]))

    def _scope(self, index: int) -> str:
        name = self._name(self.widened.get(index, index))
        for pattern in _SCOPES:
            scopes = {
                match[1]
                for part in name.split(';')
                if (match := pattern.fullmatch(part))
            }
            if len(scopes) == 1:
                return scopes.pop()
        return name  # of another framework; no naming will know it

    def _add(self, name: str, value: Tensor) -> None:
        if name in self.tensors:
            raise InputError(
                f'{self.path}: two layers have the name {name}; this is not '
                'the plain network that was looked for'
            )
        self.tensors[name] = value

    def _read_anchors(self, inputs: list[int]) -> None:
        boxes = self._constant(inputs[2])
        quantization = self.graph.Tensors(inputs[2]).Quantization()
        step = 0.0
        if quantization is not None and quantization.ScaleLength():
            step = float(quantization.Scale(0))
        self.anchors = Anchors(boxes.reshape(-1, 4), step)
        self.set_aside[self._name(inputs[2])] = (
            'anchors, computed here; compared with the config'
        )

    def _other(self, operator: str, inputs: list[int]) -> None:
        """Constants of other layers: shapes and sizes, or what is unknown."""
        for index in inputs:
            if index < 0 or not self._bytes(index):
                continue
            kind = self.graph.Tensors(index).Type()
            name = self._name(index)
            if kind in (
                self.schema.TensorType.INT32,
                self.schema.TensorType.INT64,
                self.schema.TensorType.BOOL,
            ):
                self.set_aside[name] = f'argument of {operator}'
            else:
                self._add(name, self._constant(index))

    def _input(self) -> tuple[tuple[int, int] | None, Preprocessing | None]:
        """Size of the input, and what 8-bit pixels stand for."""
        if not self.graph.InputsLength():
            return None, None
        tensor = self.graph.Tensors(self.graph.Inputs(0))
        size = None
        if tensor.ShapeLength() == 4:
            size = (int(tensor.Shape(1)), int(tensor.Shape(2)))
        quantization = tensor.Quantization()
        kinds = self.schema.TensorType
        if (
            tensor.Type() not in (kinds.UINT8, kinds.INT8)
            or quantization is None
            or not quantization.ScaleLength()
        ):
            return size, None
        # int8 pixels are uint8 ones less 128
        zero = int(quantization.ZeroPoint(0))
        mean = zero + (128.0 if tensor.Type() == kinds.INT8 else 0.0)
        scale = float(quantization.Scale(0))
        if not scale > 0:
            raise ValueError(f'the input has the scale {scale}')
        std = 1 / scale
        return size, Preprocessing((mean,) * 3, (std,) * 3)
