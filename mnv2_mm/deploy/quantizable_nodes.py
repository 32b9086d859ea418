"""Which nodes of a graph are the network, and which come behind it.

The network is the convolutions and all that leads to them. What comes behind
(decoding, NMS, softmax, the resize to the image) counts in pixels and
probabilities, for which eight bits are too few and float16 is coarse; it
stays in float32 whatever the precision of a build.
"""

import fnmatch
from collections.abc import Collection, Sequence

import onnx

from mnv2_mm.utils.errors import InputError

#: Operators with weights.
LAYERS = ('Conv', 'Gemm')


def trunk(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Nodes with weights, and those on whose result one depends, by name."""
    makers = {name: n for n in model.graph.node for name in n.output}
    found: dict[str, onnx.NodeProto] = {}
    todo = [n for n in model.graph.node if n.op_type in LAYERS]
    while todo:
        node = todo.pop()
        if node.name in found:
            continue
        found[node.name] = node
        todo += [makers[name] for name in node.input if name in makers]
    # an activation goes with its convolution, also behind the last one
    for node in model.graph.node:
        maker = makers.get(node.input[0]) if node.input else None
        behind = maker is not None and maker.op_type in LAYERS
        if behind and node.op_type in ('Clip', 'Relu'):
            found[node.name] = node
    return found


def without(names: Collection[str], keep_float: Sequence[str]) -> list[str]:
    """Names that none of the patterns of ``backend_config`` matches.

    Args:
        names: Of nodes.
        keep_float: Patterns of nodes that stay in float32, as
            ``/backbone/conv1/*``.

    Raises:
        InputError: a pattern names no node.
    """
    for pattern in keep_float:
        if not fnmatch.filter(names, pattern):
            raise InputError(
                f'backend_config.keep_float has {pattern!r}, which names no '
                f'node; the nodes are called as {next(iter(names))!r}'
            )
    return [
        name for name in names if not any(fnmatch.fnmatch(name, p) for p in keep_float)
    ]
