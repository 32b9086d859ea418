"""Clean-up of an exported ONNX graph, the same for every backend."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx

from mnv2_mm.deploy.fold import fold_constants, fold_padding


def tidy(
    model: onnx.ModelProto, dynamic_axes: Mapping[str, Mapping] | None = None
) -> onnx.ModelProto:
    """Fold what is constant, name the nodes, state the outputs' sizes.

    Args:
        model: Exported by torch's tracing exporter; it is changed.
        dynamic_axes: Names of the open axes, by tensor and axis.
    """
    # with the padding folded, further sizes are known
    while fold_constants(model) or fold_padding(model):
        pass
    drop_empty_inputs(model)
    name_nodes(model)
    state_sizes(model, dynamic_axes or {})
    onnx.checker.check_model(model)
    return model


def state_sizes(model: onnx.ModelProto, dynamic_axes: Mapping[str, Mapping]) -> None:
    """Write the sizes of the outputs into the graph, by running it once.

    The exporter leaves them as names wherever they come from an NMS, and
    TensorRT wants numbers.
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
    found = session.run(None, feeds)
    for value, array in zip(model.graph.output, found, strict=True):
        open_axes = dynamic_axes.get(value.name) or {}
        tensor = value.type.tensor_type
        tensor.ClearField('shape')
        for axis, size in enumerate(array.shape):
            dim = tensor.shape.dim.add()
            if axis in open_axes:
                dim.dim_param = open_axes[axis]
            else:
                dim.dim_value = size


def drop_empty_inputs(model: onnx.ModelProto) -> None:
    """Leave out inputs that are left empty at the end of a node's list.

    Of a ``Clip`` without an upper bound TensorRT's parser makes one layer
    then, and several where the bound is there and empty.
    """
    for node in model.graph.node:
        while node.input and not node.input[-1]:
            del node.input[-1]


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, by which it can be kept in float."""
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        base = node.name or f'/{node.op_type}'
        taken[base] += 1
        node.name = base if taken[base] == 1 else f'{base}_{taken[base]}'
