"""Read the weights of a TFLite file: float, float16 or 8 bits.

The names in such a file are those of the TensorFlow graph it was made from, more or
less: the converter joins the names of nodes that it fuses with ";". Here a filter is
named by its scope (``MobilenetV2/Conv/weights``), as in a checkpoint of TF-slim, and
its bias is the one that the same operator reads. Batch norm is fused into both.

The schema is that of the package ``tflite``. Flat buffers are offsets into bytes, so
reading a damaged file can raise any exception.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from torch import Tensor

from mnv2_mm.checkpoints.file import first_line
from mnv2_mm.checkpoints.readers.tflite_tensors import StoredTensors
from mnv2_mm.checkpoints.source import Anchors, Preprocessing, Source, sha256_of
from mnv2_mm.utils.errors import InputError

_POSTPROCESS = 'TFLite_Detection_PostProcess'


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

    Raises:
        InputError: the file is no TFLite file, damaged, or quantized in a way that is
            not supported.
    """
    try:
        import tflite
    except ImportError as error:
        raise InputError(
            'reading a TFLite file needs the package tflite, which is not installed: '
            'pip install tflite'
        ) from error
    path = Path(path)
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
    """Collects the weights of the one graph in a file."""

    def __init__(self, schema: ModuleType, data: bytes, path: Path) -> None:
        self.path = path
        self.stored = StoredTensors(schema, data, path)
        self.operators = {
            value: name
            for name, value in vars(schema.BuiltinOperator).items()
            if isinstance(value, int)
        }
        self.tensors: dict[str, Tensor] = {}
        self.set_aside: dict[str, str] = {}
        self.anchors: Anchors | None = None

    def read(self) -> Source:
        for name, inputs, outputs in self._operators():
            if name == 'DEQUANTIZE':
                self.stored.widened[outputs[0]] = inputs[0]
            elif name in ('CONV_2D', 'DEPTHWISE_CONV_2D'):
                self._convolution(inputs, depthwise=name != 'CONV_2D')
            elif name == _POSTPROCESS:
                boxes = self.stored.constant(inputs[2]).reshape(-1, 4)
                scale, _ = self.stored.quantization(inputs[2]) or (0.0, 0)
                self.anchors = Anchors(boxes, scale)
                self.set_aside[self.stored.name(inputs[2])] = (
                    'anchors, computed here; compared with the config'
                )
            else:
                self._other(name, inputs)
        if not self.tensors:
            raise InputError(f'{self.path} holds no convolution with weights')
        return Source(
            str(self.path),
            'TFLite, ' + ' and '.join(sorted(self.stored.kinds)),
            sha256_of(self.path),
            self.tensors,
            self.set_aside,
            preprocessing=self._preprocessing(),
            anchors=self.anchors,
        )

    def _operators(self) -> Iterator[tuple[str, list[int], list[int]]]:
        """Name, inputs and outputs of each operator."""
        model, graph = self.stored.model, self.stored.graph
        for i in range(graph.OperatorsLength()):
            operator = graph.Operators(i)
            code = model.OperatorCodes(operator.OpcodeIndex())
            # codes below 127 stand in an old field of one byte
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            name = self.operators.get(number, str(number))
            if code.CustomCode():
                name = code.CustomCode().decode(errors='replace')
            inputs = [int(operator.Inputs(j)) for j in range(operator.InputsLength())]
            outputs = range(operator.OutputsLength())
            yield name, inputs, [int(operator.Outputs(j)) for j in outputs]

    def _convolution(self, inputs: list[int], *, depthwise: bool) -> None:
        weight = self.stored.constant(inputs[1])
        if weight.ndim != 4:
            raise InputError(
                f'{self.path} is damaged: the filter {self.stored.name(inputs[1])} has '
                f'{weight.ndim} dimensions'
            )
        scope = self.stored.scope(inputs[1])
        leaf = 'depthwise_weights' if depthwise else 'weights'
        # from (out, H, W, in), or (1, H, W, C) of a depthwise one
        self._add(f'{scope}/{leaf}', weight.permute(1, 2, 3, 0).contiguous())
        if len(inputs) > 2 and inputs[2] >= 0:
            self._add(f'{scope}/biases', self.stored.constant(inputs[2]))

    def _add(self, name: str, value: Tensor) -> None:
        if name in self.tensors:
            raise InputError(
                f'{self.path}: two layers have the name {name}; this is not a network '
                'of one use per layer, as expected'
            )
        self.tensors[name] = value

    def _other(self, operator: str, inputs: list[int]) -> None:
        """Constants of other layers: arguments, or something unknown."""
        for index in inputs:
            if index < 0 or not self.stored.content(index):
                continue
            name = self.stored.name(index)
            if self.stored.kind(index) in ('int32', 'int64', 'bool'):
                self.set_aside[name] = f'argument of {operator}'
            else:
                self._add(name, self.stored.constant(index))

    def _preprocessing(self) -> Preprocessing | None:
        """The values of 8-bit pixels, None for an input of floats."""
        if not self.stored.graph.InputsLength():
            return None
        index = self.stored.graph.Inputs(0)
        # int8 pixels are uint8 ones minus 128
        shift = {'uint8': 0.0, 'int8': 128.0}.get(self.stored.kind(index))
        quantization = self.stored.quantization(index)
        if shift is None or quantization is None:
            return None
        scale, zero = quantization
        if not scale > 0:
            raise ValueError(f'the input has the scale {scale}')
        return Preprocessing((zero + shift,) * 3, (1 / scale,) * 3)
