"""Read the weights of a TFLite file: float, float16 or 8 bits.

The names in such a file are those of the TensorFlow graph it was made from, more or
less: the converter joins the names of nodes that it fuses with ";". Here a filter is
named by its scope (``MobilenetV2/Conv/weights``), as in a checkpoint of TF-slim, and
its bias is the one that the same operator reads. Batch norm is fused into both. A
FULLY_CONNECTED layer is read as a 1x1 convolution.

The schema is that of the package ``tflite``. Flat buffers are offsets into bytes, so
reading a damaged file can raise any exception.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mnv2_mm.checkpoints.file import first_line
from mnv2_mm.checkpoints.source import Anchors, Preprocessing, Source, sha256_of
from mnv2_mm.utils.compat import required
from mnv2_mm.utils.errors import InputError

if TYPE_CHECKING:
    from tflite import QuantizationParameters

#: How weights may be stored; integers need a scale.
SUPPORTED = ('float32', 'float16', 'uint8', 'int8', 'int32', 'int64')
_LAYERS = ('CONV_2D', 'DEPTHWISE_CONV_2D', 'FULLY_CONNECTED')
#: Where the name of a filter shows the scope of its layer, the most reliable first.
_SCOPES = (
    re.compile(r'(.+)/(?:depthwise_)?weights(?:_quant)?(?:/.*)?'),
    re.compile(r'(.+)/MatMul\d*(?:/ReadVariableOp)?'),
    re.compile(r'(.+)/(?:Conv2D|depthwise)(?:_Fold)?\d*(?:/ReadVariableOp)?'),
)
#: Converters of TensorFlow 2 put the batch norm first, then layers of equal shapes.
_NORM = re.compile(
    r'([^;]+)/(?:BatchNorm|batch_norm)/FusedBatchNorm(?:V\d)?\d*(?:;.*)?'
)


def is_tflite(path: str | os.PathLike) -> bool:
    """Whether the file exists and has the mark of a TFLite flat buffer."""
    if not os.path.isfile(path):
        return False
    with open(path, 'rb') as file:
        return file.read(8)[4:] == b'TFL3'


def read_tflite(path: str | os.PathLike) -> Source:
    """Read every weight, dequantized.

    Returns:
        Convolutions as ``<scope>/weights`` (H, W, in, out) or
        ``<scope>/depthwise_weights`` (H, W, in, multiplier), biases as
        ``<scope>/biases``; the anchors of a detector; the scaling of a quantized input.
    """
    path = Path(path)
    tflite = required('tflite', f'reading {path}')
    data = path.read_bytes()
    if data[4:8] != b'TFL3':
        raise InputError(
            f'{path} is no TFLite file: it lacks the mark "TFL3" (it begins with '
            f'{data[:8]!r})'
        )
    try:
        return _Reader(tflite, data, path).read()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f'{path} is damaged or cut off ({first_line(error)}); download it again'
        ) from error


class _Reader:
    """Collects the weights of the one graph in a file; tensors are given by index."""

    def __init__(self, schema: ModuleType, data: bytes, path: Path) -> None:
        self.data, self.path = data, path
        self.model = schema.Model.GetRootAsModel(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise InputError(
                f'{path} has {self.model.SubgraphsLength()} subgraphs; only networks '
                'with one are supported'
            )
        self.graph = self.model.Subgraphs(0)
        self.operators = {
            value: name for name, value in _constants(schema.BuiltinOperator)
        }
        self.kinds = {
            value: name.lower() for name, value in _constants(schema.TensorType)
        }
        #: Bytes of constants that may be read; tensors can share a buffer.
        self.left = 2 * len(data) + (1 << 20)
        #: How the weights are stored, for messages.
        self.read_kinds: set[str] = set()
        #: The input of each DEQUANTIZE operator by its output, a constant too.
        self.widened: dict[int, int] = {}
        self.tensors: dict[str, Tensor] = {}
        self.set_aside: dict[str, str] = {}
        self.anchors: Anchors | None = None

    def read(self) -> Source:
        for name, inputs, outputs in self._operators():
            if name == 'DEQUANTIZE':
                self.widened[outputs[0]] = inputs[0]
            elif name in _LAYERS and self._is_weight(inputs[1], name):
                self._layer(inputs, name)
            elif name == 'TFLite_Detection_PostProcess':
                boxes = self._constant(inputs[2]).reshape(-1, 4)
                scale, _ = self._quantization(inputs[2]) or (0.0, 0)
                self.anchors = Anchors(boxes, scale)
                self.set_aside[self._name(inputs[2])] = (
                    'anchors, computed here; compared with the config'
                )
            else:
                self._other(name, inputs)
        if not self.tensors:
            raise InputError(f'{self.path} holds no convolution with weights')
        return Source(
            str(self.path),
            'TFLite, ' + ' and '.join(sorted(self.read_kinds)),
            sha256_of(self.path),
            self.tensors,
            self.set_aside,
            preprocessing=self._preprocessing(),
            anchors=self.anchors,
        )

    def _operators(self) -> Iterator[tuple[str, list[int], list[int]]]:
        """Name, inputs and outputs of each operator."""
        for i in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(i)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            # codes below 127 stand in an old field of one byte
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            name = self.operators.get(number, str(number))
            if code.CustomCode():
                name = code.CustomCode().decode(errors='replace')
            inputs = [int(operator.Inputs(j)) for j in range(operator.InputsLength())]
            outputs = range(operator.OutputsLength())
            yield name, inputs, [int(operator.Outputs(j)) for j in outputs]

    def _layer(self, inputs: list[int], operator: str) -> None:
        weight = self._constant(inputs[1])
        if operator == 'FULLY_CONNECTED' and weight.ndim == 2:
            weight = weight[:, None, None]
        if weight.ndim != 4:
            raise InputError(
                f'{self.path} is damaged: the filter {self._name(inputs[1])} has '
                f'{weight.ndim} dimensions'
            )
        scope = self._scope(inputs[1])
        depthwise = operator == 'DEPTHWISE_CONV_2D'
        leaf = 'depthwise_weights' if depthwise else 'weights'
        # from (out, H, W, in), or (1, H, W, C) of a depthwise one
        self._add(f'{scope}/{leaf}', weight.permute(1, 2, 3, 0).contiguous())
        if len(inputs) > 2 and inputs[2] >= 0:
            self._add(f'{scope}/biases', self._constant(inputs[2]))

    def _add(self, name: str, value: Tensor) -> None:
        if name in self.tensors:
            raise InputError(
                f'{self.path}: two layers have the name {name}; a network that uses '
                'each layer once is expected'
            )
        self.tensors[name] = value

    def _other(self, operator: str, inputs: list[int]) -> None:
        """Constants of other layers: arguments, or something unknown."""
        for index in inputs:
            if index < 0 or not self._content(index):
                continue
            if self._kind(index) in ('int32', 'int64', 'bool'):
                self.set_aside[self._name(index)] = f'argument of {operator}'
            else:
                self._add(self._name(index), self._constant(index))

    def _preprocessing(self) -> Preprocessing | None:
        """The values of 8-bit pixels, None for an input of floats."""
        if not self.graph.InputsLength():
            return None
        index = self.graph.Inputs(0)
        # int8 pixels are uint8 ones minus 128
        shift = {'uint8': 0.0, 'int8': 128.0}.get(self._kind(index))
        quantization = self._quantization(index)
        if shift is None or quantization is None:
            return None
        scale, zero = quantization
        if not scale > 0:
            raise ValueError(f'the input has the scale {scale}')
        return Preprocessing((zero + shift,) * 3, (1 / scale,) * 3)

    def _name(self, index: int) -> str:
        return self.graph.Tensors(index).Name().decode(errors='replace')

    def _kind(self, index: int) -> str:
        """Type of the stored values, such as ``'int8'``."""
        number = self.graph.Tensors(index).Type()
        return self.kinds.get(number, f'type {number}')

    def _quantization(self, index: int) -> tuple[float, int] | None:
        """First scale and zero point, None for floats."""
        quantization = self.graph.Tensors(index).Quantization()
        if quantization is None or not quantization.ScaleLength():
            return None
        zero = quantization.ZeroPoint(0) if quantization.ZeroPointLength() else 0
        return float(quantization.Scale(0)), int(zero)

    def _scope(self, index: int) -> str:
        """Scope of the layer that a filter belongs to."""
        name = self._name(self.widened.get(index, index))
        if match := _NORM.fullmatch(name):
            return match[1]
        for pattern in _SCOPES:
            matches = map(pattern.fullmatch, name.split(';'))
            scopes = {match[1] for match in matches if match}
            if len(scopes) == 1:
                return scopes.pop()
        return name  # of another framework; no key map will know it

    def _is_weight(self, index: int, operator: str) -> bool:
        """Fully connected layers may multiply two computed maps."""
        stored = self._content(self.widened.get(index, index))
        return operator != 'FULLY_CONNECTED' or bool(stored)

    def _content(self, index: int) -> bytes:
        """Bytes of a constant, empty for what is computed."""
        buffer = self.model.Buffers(self.graph.Tensors(index).Buffer())
        if buffer.DataLength():
            return buffer.DataAsNumpy().tobytes()
        # beyond 2 GB the content follows the flat buffer
        offset = buffer.Offset()
        return self.data[offset : offset + buffer.Size()] if offset > 1 else b''

    def _constant(self, index: int) -> Tensor:
        """Values of a constant as floats, in the stored layout."""
        index = self.widened.get(index, index)
        tensor, kind = self.graph.Tensors(index), self._kind(index)
        name = f'{self.path}: {self._name(index)}'
        shape = tuple(tensor.Shape(i) for i in range(tensor.ShapeLength()))
        content = self._content(index)
        if not content:
            raise InputError(
                f'{name} is computed by the network and not stored; only weights that '
                'are constants can be read'
            )
        self.left -= len(content)
        if self.left < 0:
            raise InputError(
                f'{self.path} claims more weights than it has room for: its tensors '
                'share their values; convert the network to TFLite again'
            )
        quantization = tensor.Quantization()
        special = ''
        if tensor.Sparsity() is not None:
            special = 'sparse '
        elif quantization is not None and quantization.DetailsType():
            special = 'custom-quantized '
        if special or kind not in SUPPORTED:
            raise InputError(
                f'{name} is stored as {special}{kind}; convert the network to TFLite '
                f'again, as one of {", ".join(SUPPORTED)}, a scale per tensor or '
                'channel'
            )
        values = np.frombuffer(content, np.dtype(kind).newbyteorder('<'))
        if values.size != np.prod(shape, dtype=object):
            raise InputError(
                f'{name} should have the shape {shape} but holds {values.size} values: '
                'the file is damaged'
            )
        if kind not in ('int32', 'int64'):  # biases
            self.read_kinds.add('8 bits' if kind.endswith('t8') else kind)
        values = values.reshape(shape)
        if not kind.startswith('float'):
            values = _dequantized(values, quantization, name)
        return torch.from_numpy(values.astype(np.float32))


def _constants(enum: type) -> list[tuple[str, int]]:
    return [(name, v) for name, v in vars(enum).items() if isinstance(v, int)]


def _dequantized(
    values: np.ndarray, quantization: 'QuantizationParameters | None', name: str
) -> np.ndarray:
    """(q - zero point) * scale, one pair per tensor or channel."""
    if quantization is None or not quantization.ScaleLength():
        raise InputError(f'{name} holds integers without a scale')
    count = quantization.ScaleLength()
    scale = quantization.ScaleAsNumpy().astype(np.float64)
    zero: np.ndarray = np.zeros(1, np.int64)
    if quantization.ZeroPointLength():
        zero = quantization.ZeroPointAsNumpy()
    if count > 1:
        axis = quantization.QuantizedDimension()
        if count != values.shape[axis]:
            raise InputError(
                f'{name} of shape {values.shape} has {count} scales for axis {axis}: '
                'the file is damaged'
            )
        shape = [1] * values.ndim
        shape[axis] = count
        scale = scale.reshape(shape)
        zero = zero.reshape(shape) if len(zero) == count else zero
    return (values.astype(np.float64) - zero) * scale
