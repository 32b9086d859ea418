"""Reductions, and the index of the largest value."""

import numpy as np

from mnv2_mm.deploy.ncnn.lowering import Lowering, rule, unsupported
from mnv2_mm.deploy.ncnn.node import Node

_SUM, _MEAN, _MAX, _MIN = 0, 3, 4, 5
_REDUCTIONS = {
    'ReduceSum': _SUM,
    'ReduceMean': _MEAN,
    'ReduceMax': _MAX,
    'ReduceMin': _MIN,
}
_SUBTRACT, _MULTIPLY, _ADD = 1, 2, 0
_CEIL = 3


def _reduction(operation: int, axes: list[int], keep: int) -> dict:
    # without 5=1 ncnn takes the axes for those of an older numbering
    return {0: operation, 1: 0, 3: axes, 4: keep, 5: 1}


@rule(*_REDUCTIONS)
def reduce(net: Lowering, node: Node) -> None:
    """Reduction over given axes."""
    rank = len(net.graph.shape(node.inputs[0]))
    axes = node.attributes.get('axes')
    if axes is None:
        axes = net.constant(node, 1)
    if axes is None or not len(axes):
        raise unsupported(node, 'over all axes')
    axes = sorted(net.axis(node, int(axis), rank) for axis in axes)
    keep = node.attributes.get('keepdims', 1)
    if not keep and len(axes) == rank - 1:
        raise unsupported(node, 'over all axes without keepdims')
    params = _reduction(_REDUCTIONS[node.op], axes, keep)
    net.add('Reduction', node, [node.inputs[0]], node.outputs[0], params)


@rule('ArgMax')
def arg_max(net: Lowering, node: Node) -> None:
    """The lowest index of the largest value; as float, exact below 2^24.

    ncnn's own ArgMax looks at the whole blob. From layers that every ncnn
    has: with d = ceil(clip(max - x, 0, 1)), which is 0 where x is the
    maximum and else 1, the answer is min(index + n * d) over n indices.
    """
    if node.attributes.get('select_last_index', 0):
        raise unsupported(node, 'with select_last_index')
    shape = net.shape(node.inputs[0])
    axis = net.axis(node, node.attributes.get('axis', 0), len(shape) + 1)
    keep = node.attributes.get('keepdims', 1)
    if not keep and len(shape) == 1:
        raise unsupported(node, 'over all axes without keepdims')
    size = shape[axis]
    indices = np.arange(size, dtype=np.float32)
    indices = indices.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    x = node.inputs[0]
    largest = net.step('Reduction', node, [x], _reduction(_MAX, [axis], 1))
    below = net.step('BinaryOp', node, [largest, x], {0: _SUBTRACT})
    below = net.step('Clip', node, [below], {0: 0.0, 1: 1.0})
    below = net.step('UnaryOp', node, [below], {0: _CEIL})
    below = net.step('BinaryOp', node, [below], {0: _MULTIPLY, 1: 1, 2: float(size)})
    index = net.memory(node, indices)
    index = net.step('BinaryOp', node, [below, index], {0: _ADD})
    params = _reduction(_MIN, [axis], keep)
    net.add('Reduction', node, [index], node.outputs[0], params)
