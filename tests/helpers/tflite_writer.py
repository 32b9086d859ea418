"""Write small TFLite files, for tests of what reads them."""

from typing import NamedTuple

import flatbuffers
import numpy as np
import tflite

KINDS = {
    'float32': tflite.TensorType.FLOAT32,
    'float16': tflite.TensorType.FLOAT16,
    'uint8': tflite.TensorType.UINT8,
    'int8': tflite.TensorType.INT8,
    'int16': tflite.TensorType.INT16,
    'int32': tflite.TensorType.INT32,
}


class Entry(NamedTuple):
    """A tensor: a constant with values, or a map with a shape only."""

    name: str
    values: np.ndarray | None = None
    shape: tuple = ()
    kind: str = 'float32'
    scale: tuple = ()
    zero: tuple = ()
    axis: int = 0


def _vector(builder, offsets):
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _tensor(builder, entry, buffer):
    quantization = None
    if entry.scale:
        scale = builder.CreateNumpyVector(np.float32(entry.scale))
        zero = builder.CreateNumpyVector(np.int64(entry.zero))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scale)
        tflite.QuantizationParametersAddZeroPoint(builder, zero)
        tflite.QuantizationParametersAddQuantizedDimension(builder, entry.axis)
        quantization = tflite.QuantizationParametersEnd(builder)
    constant = entry.values is not None
    shape = entry.values.shape if constant else entry.shape
    kind = str(entry.values.dtype) if constant else entry.kind
    shape = builder.CreateNumpyVector(np.int32(shape))
    name = builder.CreateString(entry.name)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, KINDS[kind])
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, name)
    if quantization is not None:
        tflite.TensorAddQuantization(builder, quantization)
    return tflite.TensorEnd(builder)


def write(path, tensors, operators, *, subgraphs=1):
    """Write a file.

    Args:
        path: Where to.
        tensors: Entries; the first is the input.
        operators: (name of the operator, input indices, output indices), a
            custom operator by its name in bytes.
        subgraphs: The number of copies of the graph.
    """
    builder = flatbuffers.Builder(1024)
    contents = [np.zeros(0, np.uint8)]
    offsets = []
    places: dict[int, int] = {}  # of arrays, which tensors may share
    for entry in tensors:
        buffer = 0
        if entry.values is not None:
            buffer = places.setdefault(id(entry.values), len(contents))
        if buffer == len(contents):
            contents.append(np.frombuffer(entry.values.tobytes(), np.uint8))
        offsets.append(_tensor(builder, entry, buffer))
    tensor_vector = _vector(builder, offsets)
    kinds = list(dict.fromkeys(name for name, *_ in operators))
    codes = []
    for kind in kinds:
        custom = None
        if isinstance(kind, bytes):
            custom = builder.CreateString(kind)
        number = 32 if custom else getattr(tflite.BuiltinOperator, kind)
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, number)
        tflite.OperatorCodeAddBuiltinCode(builder, number)
        if custom:
            tflite.OperatorCodeAddCustomCode(builder, custom)
        codes.append(tflite.OperatorCodeEnd(builder))
    code_vector = _vector(builder, codes)
    offsets = []
    for kind, inputs, outputs in operators:
        inputs = builder.CreateNumpyVector(np.int32(inputs))
        outputs = builder.CreateNumpyVector(np.int32(outputs))
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, kinds.index(kind))
        tflite.OperatorAddInputs(builder, inputs)
        tflite.OperatorAddOutputs(builder, outputs)
        offsets.append(tflite.OperatorEnd(builder))
    operator_vector = _vector(builder, offsets)
    inputs = builder.CreateNumpyVector(np.int32([0]))
    graphs = []
    for _ in range(subgraphs):
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tensor_vector)
        tflite.SubGraphAddInputs(builder, inputs)
        tflite.SubGraphAddOperators(builder, operator_vector)
        graphs.append(tflite.SubGraphEnd(builder))
    graph_vector = _vector(builder, graphs)
    buffers = []
    for content in contents:
        data = builder.CreateNumpyVector(content) if content.size else None
        tflite.BufferStart(builder)
        if data is not None:
            tflite.BufferAddData(builder, data)
        buffers.append(tflite.BufferEnd(builder))
    buffer_vector = _vector(builder, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, code_vector)
    tflite.ModelAddSubgraphs(builder, graph_vector)
    tflite.ModelAddBuffers(builder, buffer_vector)
    builder.Finish(tflite.ModelEnd(builder), b'TFL3')
    path.write_bytes(bytes(builder.Output()))
    return path


def slim_names(scope, leaf):
    """Names of a filter and its bias, as TF-slim's graph has them."""
    return f'{scope}/{leaf}', f'{scope}/fused'


def write_network(path, values, *, names=slim_names, dense=False, pixels=None):
    """Write variables of slim_variables.py, beta in place of the batch norm.

    Args:
        path: Where to.
        values: Arrays by name.
        names: Of the filter and bias of a layer, from scope and leaf.
        dense: A classifier of type FULLY_CONNECTED.
        pixels: Quantization of the input, as of an Entry.
    """
    tensors = [Entry('input', shape=(1, 64, 64, 3), **(pixels or {}))]
    operators = []
    for name, value in values.items():
        scope, _, leaf = name.rpartition('/')
        if not leaf.endswith('weights'):
            continue
        kind = 'DEPTHWISE_CONV_2D' if leaf.startswith('depthwise') else 'CONV_2D'
        bias = values.get(f'{scope}/biases')
        # (H, W, in, out) -> (out, H, W, in), depthwise -> (1, H, W, C)
        weight = np.float32(value * 0.05).transpose(3, 0, 1, 2)
        if bias is None:
            bias = values[f'{scope}/BatchNorm/beta']
        elif dense:
            kind, weight = 'FULLY_CONNECTED', weight[:, 0, 0]
        index = len(tensors)
        theirs = names(scope, leaf)
        tensors += [
            Entry(theirs[0], weight),
            Entry(theirs[1], np.float32(bias)),
            Entry(f'{scope}/map', shape=(1, 1, 1, 1)),
        ]
        operators.append((kind, [0, index, index + 1], [index + 2]))
    return write(path, tensors, operators)
