"""Names and values of the tensors stored in a TFLite file."""

import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mnv2_mm.utils.errors import InputError

if TYPE_CHECKING:
    from tflite import QuantizationParameters

#: How weights may be stored; integers need a scale.
SUPPORTED = ('float32', 'float16', 'uint8', 'int8', 'int32', 'int64')
#: Where the name of a filter shows the scope of its layer, the most reliable first.
_SCOPES = (
    re.compile(r'(.+)/(?:depthwise_)?weights(?:_quant)?(?:/.*)?'),
    re.compile(r'(.+)/(?:Conv2D|depthwise)(?:_Fold)?\d*'),
)


class StoredTensors:
    """The tensors of the graph in a file, by their index.

    Args:
        schema: The package ``tflite``.
        data: The file.
        path: Its path, for messages.

    Attributes:
        kinds: How the weights read so far are stored, for messages.
        widened: The input of each DEQUANTIZE operator by its output, which is a
            constant too.
    """

    def __init__(self, schema: ModuleType, data: bytes, path: Path) -> None:
        self.data, self.path = data, path
        self.model = schema.Model.GetRootAsModel(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise InputError(
                f'{path} has {self.model.SubgraphsLength()} subgraphs; only networks '
                'with one are supported'
            )
        self.graph = self.model.Subgraphs(0)
        self.kinds: set[str] = set()
        self.widened: dict[int, int] = {}
        self._kind_names = {
            value: kind.lower()
            for kind, value in vars(schema.TensorType).items()
            if isinstance(value, int)
        }

    def name(self, index: int) -> str:
        """Name of a tensor."""
        return self.graph.Tensors(index).Name().decode(errors='replace')

    def kind(self, index: int) -> str:
        """Type of the stored values, such as ``'int8'``."""
        number = self.graph.Tensors(index).Type()
        return self._kind_names.get(number, f'type {number}')

    def quantization(self, index: int) -> tuple[float, int] | None:
        """First scale and zero point, None for floats."""
        quantization = self.graph.Tensors(index).Quantization()
        if quantization is None or not quantization.ScaleLength():
            return None
        zero = quantization.ZeroPoint(0) if quantization.ZeroPointLength() else 0
        return float(quantization.Scale(0)), int(zero)

    def scope(self, index: int) -> str:
        """Scope of the layer that a filter belongs to."""
        name = self.name(self.widened.get(index, index))
        for pattern in _SCOPES:
            matches = map(pattern.fullmatch, name.split(';'))
            scopes = {match[1] for match in matches if match}
            if len(scopes) == 1:
                return scopes.pop()
        return name  # of another framework; no key map will know it

    def content(self, index: int) -> bytes:
        """Bytes of a constant, empty for what is computed."""
        buffer = self.model.Buffers(self.graph.Tensors(index).Buffer())
        if buffer.DataLength():
            return buffer.DataAsNumpy().tobytes()
        # beyond 2 GB the content follows the flat buffer
        offset = buffer.Offset()
        return self.data[offset : offset + buffer.Size()] if offset > 1 else b''

    def constant(self, index: int) -> Tensor:
        """Values of a constant as floats, in the stored layout.

        Raises:
            InputError: it is computed, or stored in a way that is not supported.
        """
        index = self.widened.get(index, index)
        tensor, kind = self.graph.Tensors(index), self.kind(index)
        name = f'{self.path}: {self.name(index)}'
        shape = tuple(tensor.Shape(i) for i in range(tensor.ShapeLength()))
        content = self.content(index)
        if not content:
            raise InputError(
                f'{name} is computed by the network and not stored; only weights that '
                'are constants can be read'
            )
        quantization = tensor.Quantization()
        special = ''
        if tensor.Sparsity() is not None:
            special = 'sparse '
        elif quantization is not None and quantization.DetailsType():
            special = 'custom-quantized '
        if special or kind not in SUPPORTED:
            raise InputError(
                f'{name} is stored as {special}{kind}; supported are '
                f'{", ".join(SUPPORTED)}, one scale per tensor or channel. Convert the '
                'network to TFLite again as float32, or with the usual 8 bits'
            )
        values = np.frombuffer(content, np.dtype(kind).newbyteorder('<'))
        if values.size != np.prod(shape, dtype=object):
            raise InputError(
                f'{name} should have the shape {shape} but holds {values.size} values: '
                'the file is damaged'
            )
        if kind not in ('int32', 'int64'):  # biases
            self.kinds.add('8 bits' if kind.endswith('t8') else kind)
        values = values.reshape(shape)
        if not kind.startswith('float'):
            values = _dequantized(values, quantization, name)
        return torch.from_numpy(values.astype(np.float32))


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
