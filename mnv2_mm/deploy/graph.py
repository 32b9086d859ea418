"""Simplify an exported ONNX graph; select its nodes for float16 and int8."""

import fnmatch
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.onnx_folding import fold

#: Operators with weights, and those that follow them.
LAYERS, _ACTIVATIONS = ('Conv', 'Gemm'), ('Clip', 'Relu')


def simplify(
    model: onnx.ModelProto, dynamic_axes: Mapping[str, Mapping] | None = None
) -> onnx.ModelProto:
    """Fold constants and padding, name the nodes, set the output sizes.

    Args:
        model: Exported by torch's tracing exporter.
        dynamic_axes: Names of the dynamic axes, by tensor and axis.
    """
    model = fold(model)
    for node in model.graph.node:
        # TensorRT's parser makes several layers of a Clip with an empty bound
        while node.input and not node.input[-1]:
            del node.input[-1]
    name_nodes(model)
    set_output_sizes(model, dynamic_axes or {})
    onnx.checker.check_model(model)
    return model


def set_output_sizes(
    model: onnx.ModelProto, dynamic_axes: Mapping[str, Mapping]
) -> None:
    """Write the sizes of the outputs into the graph, by running it once.

    TensorRT needs numbers, also where they depend on an NMS.
    """
    (images,) = model.graph.input
    sizes = [dim.dim_value for dim in images.type.tensor_type.shape.dim]
    known = [size or (1, 3, 65, 65)[axis] for axis, size in enumerate(sizes)]
    found = OnnxRuntime([model.SerializeToString()])(np.zeros(known, np.float32))
    for value in model.graph.output:
        array = found[value.name]
        names = dynamic_axes.get(value.name) or {}
        sizes = [names.get(axis, size) for axis, size in enumerate(array.shape)]
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, sizes))


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node a unique name, by which ``keep_float`` can select it."""
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        base = node.name or f'/{node.op_type}'
        taken[base] += 1
        node.name = base if taken[base] == 1 else f'{base}_{taken[base]}'


def quantizable_nodes(
    model: onnx.ModelProto, keep_float: Sequence[str] = ()
) -> list[str]:
    """Names of the nodes that are computed in float16 or int8, in their order.

    These are the nodes with weights, all that leads to them, and their
    activations. What comes after them (decoding, NMS, softmax, resizing to the
    image) works in pixels and probabilities, for which 8 bits are too few and
    float16 is coarse.

    Args:
        model: Result of :func:`simplify`.
        keep_float: Patterns of nodes to leave out, as ``/backbone/conv1/*``.

    Raises:
        InputError: a pattern matches no node.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    found = set()
    todo = [node for node in model.graph.node if node.op_type in LAYERS]
    while todo:
        node = todo.pop()
        if node.name not in found:
            found.add(node.name)
            todo += [producers[name] for name in node.input if name in producers]
    for node in model.graph.node:
        producer = producers.get(node.input[0]) if node.input else None
        if producer and producer.op_type in LAYERS and node.op_type in _ACTIVATIONS:
            found.add(node.name)
    names = [node.name for node in model.graph.node if node.name in found]
    for pattern in keep_float:
        if not fnmatch.filter(names, pattern):
            raise InputError(
                f'backend_config.keep_float has {pattern!r}, which names no '
                f'node; the nodes have names like {names[0]!r}'
            )
    return [
        name for name in names if not any(fnmatch.fnmatch(name, p) for p in keep_float)
    ]
