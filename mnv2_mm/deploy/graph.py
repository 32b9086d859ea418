"""Simplify an exported ONNX graph, the same for ONNX Runtime and TensorRT."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx


def simplify(
    model: onnx.ModelProto, dynamic_axes: Mapping[str, Mapping] | None = None
) -> onnx.ModelProto:
    """Fold constants and padding, name the nodes, set the output sizes.

    onnxslim does the folding. On SSDLite it leaves 240 of 1061 nodes (254 of
    1082 with a dynamic batch), none of them a ``Pad``, and the outputs are
    bitwise those of the graph before.

    Args:
        model: Exported by torch's tracing exporter.
        dynamic_axes: Names of the dynamic axes, by tensor and axis.
    """
    import onnxslim

    model = onnxslim.slim(model)
    drop_empty_inputs(model)
    name_nodes(model)
    set_output_sizes(model, dynamic_axes or {})
    onnx.checker.check_model(model)
    return model


def set_output_sizes(
    model: onnx.ModelProto, dynamic_axes: Mapping[str, Mapping]
) -> None:
    """Write the sizes of the outputs into the graph, by running it once.

    The exporter leaves names where sizes depend on an NMS; TensorRT needs
    numbers.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    feeds = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        sizes = [
            dim.dim_value or (1 if axis == 0 else 65) for axis, dim in enumerate(dims)
        ]
        feeds[value.name] = np.zeros(sizes, np.float32)
    arrays = session.run(None, feeds)
    for value, array in zip(model.graph.output, arrays, strict=True):
        dynamic = dynamic_axes.get(value.name) or {}
        tensor = value.type.tensor_type
        tensor.ClearField('shape')
        for axis, size in enumerate(array.shape):
            dim = tensor.shape.dim.add()
            if axis in dynamic:
                dim.dim_param = dynamic[axis]
            else:
                dim.dim_value = size


def drop_empty_inputs(model: onnx.ModelProto) -> None:
    """Remove empty inputs at the end of a node's list of inputs.

    TensorRT's parser then makes one layer of a ``Clip`` without an upper
    bound; with an empty bound it makes several.
    """
    for node in model.graph.node:
        while node.input and not node.input[-1]:
            del node.input[-1]


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node a unique name, by which ``keep_float`` can select it."""
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        base = node.name or f'/{node.op_type}'
        taken[base] += 1
        node.name = base if taken[base] == 1 else f'{base}_{taken[base]}'
