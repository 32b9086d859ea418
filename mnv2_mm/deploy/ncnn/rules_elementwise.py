"""Arithmetic and activations, value by value."""

import numpy as np

from mnv2_mm.deploy.ncnn.lowering import Lowering, rule, unsupported
from mnv2_mm.deploy.ncnn.node import Node

_BINARY = {'Add': 0, 'Sub': 1, 'Mul': 2, 'Div': 3, 'Max': 4, 'Min': 5}
#: The same with the operands exchanged.
_REVERSED = {'Sub': 7, 'Div': 8}
_UNARY = {
    'Abs': 0,
    'Neg': 1,
    'Floor': 2,
    'Ceil': 3,
    'Sqrt': 5,
    'Exp': 7,
    'Log': 8,
    'Reciprocal': 15,
}
_ONE_LAYER = {'Sigmoid': 'Sigmoid', 'Tanh': 'TanH'}
_LARGEST = float(np.finfo(np.float32).max)


@rule(*_BINARY)
def binary(net: Lowering, node: Node) -> None:
    """BinaryOp.

    How ncnn broadcasts operands with different numbers of dimensions has
    changed over the years, so all get the same number.
    """
    if len(node.inputs) != 2:
        raise unsupported(node, f'of {len(node.inputs)} inputs')
    first, second = node.inputs
    if net.is_constant(first):
        if node.op in _REVERSED:
            if net.graph.constants[first].size == 1:
                operation = _REVERSED[node.op]
                _with_number(net, node, second, first, operation)
                return
        else:
            first, second = second, first
    operation = _BINARY[node.op]
    if net.is_constant(second) and net.graph.constants[second].size == 1:
        _with_number(net, node, first, second, operation)
        return
    rank = len(net.shape(node.outputs[0]))
    blobs = [_of_rank(net, node, name, rank) for name in (first, second)]
    net.add('BinaryOp', node, blobs, node.outputs[0], {0: operation})


def _with_number(
    net: Lowering, node: Node, blob: str, constant: str, operation: int
) -> None:
    value = float(net.graph.constants[constant].reshape(-1)[0])
    if net.graph.shape(blob) != net.graph.shape(node.outputs[0]):
        raise unsupported(node, 'with a constant of more dimensions')
    params = {0: operation, 1: 1, 2: value}
    net.add('BinaryOp', node, [blob], node.outputs[0], params)


def _of_rank(net: Lowering, node: Node, name: str, rank: int) -> str:
    """An operand with so many dimensions, the batch not counted."""
    if net.is_constant(name):
        values = net.graph.constants[name]
        shape = (1,) * (rank + 1 - values.ndim) + values.shape
        if shape[0] != 1:
            raise unsupported(node, 'with a constant that has a batch')
        return net.memory(node, values.reshape(shape[1:]))
    shape = net.shape(name)
    if len(shape) == rank:
        return name
    # ONNX aligns the last axes: what was the batch becomes a middle one
    shape = (1,) * (rank - len(shape)) + shape
    return net.reshaped(node, name, shape)


@rule(*_UNARY)
def unary(net: Lowering, node: Node) -> None:
    """UnaryOp."""
    params = {0: _UNARY[node.op]}
    net.add('UnaryOp', node, [node.inputs[0]], node.outputs[0], params)


@rule(*_ONE_LAYER)
def one_layer(net: Lowering, node: Node) -> None:
    """An activation with a layer of its own and no parameters."""
    layer = _ONE_LAYER[node.op]
    net.add(layer, node, [node.inputs[0]], node.outputs[0])


@rule('Relu', 'LeakyRelu')
def relu(net: Lowering, node: Node) -> None:
    """ReLU with a slope, alone or inside the layer before it."""
    if node.op == 'Relu':
        slope, kind, values = 0.0, 1, []
    else:
        slope = node.attributes.get('alpha', 0.01)
        kind, values = 2, [slope]
    if not net.fuse_activation(node, kind, values):
        params = {0: slope}
        net.add('ReLU', node, [node.inputs[0]], node.outputs[0], params)


@rule('Clip')
def clip(net: Lowering, node: Node) -> None:
    """Clip (ReLU6 is one), alone or inside the layer before it."""
    limits = [-_LARGEST, _LARGEST]
    for index in (1, 2):
        value = net.constant(node, index)
        if value is not None:
            limit = float(value.reshape(-1)[0])
            limits[index - 1] = min(max(limit, -_LARGEST), _LARGEST)
    if not net.fuse_activation(node, 3, limits):
        params = dict(enumerate(limits))
        net.add('Clip', node, [node.inputs[0]], node.outputs[0], params)


@rule('HardSigmoid', 'HardSwish')
def hard(net: Lowering, node: Node) -> None:
    """Piecewise linear forms of the sigmoid and of swish."""
    swish = node.op == 'HardSwish'
    params = {
        0: 1 / 6 if swish else node.attributes.get('alpha', 0.2),
        1: 0.5 if swish else node.attributes.get('beta', 0.5),
    }
    net.add(node.op, node, [node.inputs[0]], node.outputs[0], params)


@rule('Softmax')
def softmax(net: Lowering, node: Node) -> None:
    """Softmax over one axis."""
    rank = len(net.graph.shape(node.inputs[0]))
    axis = net.axis(node, node.attributes.get('axis', -1), rank)
    # without 1=1 ncnn takes the axis for one of an older numbering
    params = {0: axis, 1: 1}
    net.add('Softmax', node, [node.inputs[0]], node.outputs[0], params)
