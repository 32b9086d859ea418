"""Select the nodes of a graph that are computed in float16 or int8.

These are the convolutions and all that leads to them. What comes after them
(decoding, NMS, softmax, resizing to the image) works in pixels and
probabilities, for which 8 bits are too few and float16 is coarse; it stays in
float32 in every precision.
"""

import fnmatch
from collections.abc import Collection, Sequence

import onnx

from mnv2_mm.utils.errors import InputError

#: Operators with weights.
LAYERS = ('Conv', 'Gemm')


def quantizable_nodes(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Nodes with weights, their ancestors and their activations, by name."""
    producers = {name: n for n in model.graph.node for name in n.output}
    found: dict[str, onnx.NodeProto] = {}
    todo = [n for n in model.graph.node if n.op_type in LAYERS]
    while todo:
        node = todo.pop()
        if node.name in found:
            continue
        found[node.name] = node
        todo += [producers[name] for name in node.input if name in producers]
    # also the activation after the last convolution
    for node in model.graph.node:
        producer = producers.get(node.input[0]) if node.input else None
        after_layer = producer is not None and producer.op_type in LAYERS
        if after_layer and node.op_type in ('Clip', 'Relu'):
            found[node.name] = node
    return found


def without(names: Collection[str], keep_float: Sequence[str]) -> list[str]:
    """Names of nodes that match none of the patterns.

    Args:
        names: Names of nodes.
        keep_float: Patterns of nodes that stay in float32, as
            ``/backbone/conv1/*``.

    Raises:
        InputError: a pattern matches no node.
    """
    for pattern in keep_float:
        if not fnmatch.filter(names, pattern):
            raise InputError(
                f'backend_config.keep_float has {pattern!r}, which names no '
                f'node; the nodes have names like {next(iter(names))!r}'
            )
    return [
        name for name in names if not any(fnmatch.fnmatch(name, p) for p in keep_float)
    ]
