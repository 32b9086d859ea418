"""Lower each ONNX operator to ncnn layers.

One function per family of operators adds layers to the network so far;
:data:`RULES` has the operators of this project's networks.
"""

from collections.abc import Callable
from itertools import permutations

import numpy as np

from mnv2_mm.deploy.ncnn import rules_maps
from mnv2_mm.deploy.ncnn.graph import Graph, Node
from mnv2_mm.deploy.ncnn.layer import Layer, Value, with_splits
from mnv2_mm.deploy.ncnn.lowering import Lowering, shape_params, unsupported

#: Name of the operator at the end of a detector's graph.
OPERATOR = 'mnv2_mm::DetectionOutput'
_LARGEST = float(np.finfo(np.float32).max)
#: ncnn's numbers of BinaryOp; the second table has the operands exchanged.
_BINARY = {'Add': 0, 'Sub': 1, 'Mul': 2, 'Max': 4, 'Min': 5}
_REVERSED = {'Sub': 7}
#: Layers of one input, and their parameters. All numbers of ncnn are floats.
_UNARY = {
    'Ceil': ('UnaryOp', {0: 3}),
    'Exp': ('UnaryOp', {0: 7}),
    'Sigmoid': ('Sigmoid', {}),
    **dict.fromkeys(('Cast', 'Dropout', 'Identity'), ('Noop', {})),
}
#: ncnn's numbers of Reduction.
_REDUCTIONS = {'ReduceMean': 3, 'ReduceMax': 4, 'ReduceMin': 5}


def lower(graph: Graph) -> list[Layer]:
    """All layers of a graph; raises InputError for what ncnn does not have."""
    net = Lowering(graph)
    for node in graph.nodes:
        if node.op not in RULES:
            raise unsupported(node)
        for name in node.inputs:
            if name and name not in graph.constants:
                net.shape(name)
        RULES[node.op](net, node)
    inputs = [
        Layer('Input', name, [], [name], shape_params(net.shape(name)))
        for name in graph.inputs
    ]
    return with_splits([*inputs, *net.layers], graph.outputs)


def binary(net: Lowering, node: Node) -> None:
    """BinaryOp of two blobs, or of a blob and a constant.

    ncnn's broadcasting of operands with different numbers of dimensions has
    changed over the years, so both get the same number.
    """
    if len(node.inputs) != 2:
        raise unsupported(node, f'of {len(node.inputs)} inputs')
    constants = net.graph.constants
    operation, operands = _BINARY[node.op], list(node.inputs)
    if operands[0] in constants:
        if node.op not in _REVERSED:
            operands.reverse()
        elif constants[operands[0]].size == 1:
            operands.reverse()
            operation = _REVERSED[node.op]
    first, second = operands
    if second in constants and constants[second].size == 1:
        if net.graph.shape(first) != net.graph.shape(node.outputs[0]):
            raise unsupported(node, 'with a constant of more dimensions')
        value = float(constants[second].reshape(-1)[0])
        net.add('BinaryOp', node, [first], params={0: operation, 1: 1, 2: value})
        return
    rank = len(net.shape(node.outputs[0]))
    blobs = [_of_rank(net, node, name, rank) for name in operands]
    net.add('BinaryOp', node, blobs, params={0: operation})


def _of_rank(net: Lowering, node: Node, name: str, rank: int) -> str:
    """An operand with a number of dimensions, the batch not counted."""
    if name not in net.graph.constants:
        if len(net.shape(name)) != rank:
            raise unsupported(node, 'of operands with unlike dimensions')
        return name
    values = net.graph.constants[name]
    shape = (1,) * (rank + 1 - values.ndim) + values.shape
    if shape[0] != 1:
        raise unsupported(node, 'with a constant that has a batch')
    return net.memory(node, values.reshape(shape[1:]))


def unary(net: Lowering, node: Node) -> None:
    """A layer of one input."""
    type_, params = _UNARY[node.op]
    net.add(type_, node, params=params)


def relu(net: Lowering, node: Node) -> None:
    """ReLU with a slope, merged into the layer before it if possible."""
    slope = node.attributes.get('alpha', 0.01) if node.op == 'LeakyRelu' else 0.0
    kind, values = (2, [slope]) if node.op == 'LeakyRelu' else (1, [])
    if not net.fuse_activation(node, kind, values):
        net.add('ReLU', node, params={0: slope})


def clip(net: Lowering, node: Node) -> None:
    """Clip (ReLU6), merged into the layer before it if possible."""
    limits = [-_LARGEST, _LARGEST]
    for index in (1, 2):
        value = net.constant(node, index)
        if value is not None:
            limit = float(value.reshape(-1)[0])
            limits[index - 1] = min(max(limit, -_LARGEST), _LARGEST)
    if not net.fuse_activation(node, 3, limits):
        net.add('Clip', node, params=dict(enumerate(limits)))


def softmax(net: Lowering, node: Node) -> None:
    """Softmax over one axis."""
    rank = len(net.graph.shape(node.inputs[0]))
    axis = net.axis(node, node.attributes.get('axis', -1), rank)
    # without 1=1 ncnn reads the axis in an older numbering
    net.add('Softmax', node, params={0: axis, 1: 1})


def reduce(net: Lowering, node: Node) -> None:
    """Reduction over given axes."""
    rank = len(net.graph.shape(node.inputs[0]))
    axes = sorted(net.axis(node, a, rank) for a in node.attributes.get('axes', ()))
    keep = node.attributes.get('keepdims', 1)
    if not axes or (not keep and len(axes) == rank - 1):
        raise unsupported(node, 'over all axes')
    params = _reduction(_REDUCTIONS[node.op], axes, keep)
    net.add('Reduction', node, params=params)


def _reduction(operation: int, axes: list[int], keep: int) -> dict[int, Value]:
    # without 5=1 ncnn reads the axes in an older numbering
    return {0: operation, 1: 0, 3: axes, 4: keep, 5: 1}


def arg_max(net: Lowering, node: Node) -> None:
    """The lowest index of the largest value; as float, exact below 2^24.

    ncnn's own ArgMax searches the whole blob. From layers that every ncnn
    has: with d = ceil(clip(max - x, 0, 1)), which is 0 where x is the
    maximum and else 1, the answer is min(index + n * d) over n indices.
    """
    shape = net.shape(node.inputs[0])
    axis = net.axis(node, node.attributes.get('axis', 0), len(shape) + 1)
    if node.attributes.get('select_last_index', 0) or len(shape) == 1:
        raise unsupported(node, 'over all axes or with select_last_index')
    size, x = shape[axis], node.inputs[0]
    sides = [size if i == axis else 1 for i in range(len(shape))]
    maximum, minimum = _REDUCTIONS['ReduceMax'], _REDUCTIONS['ReduceMin']
    largest = net.step('Reduction', node, [x], _reduction(maximum, [axis], 1))
    below = net.step('BinaryOp', node, [largest, x], {0: _BINARY['Sub']})
    below = net.step('Clip', node, [below], {0: 0.0, 1: 1.0})
    below = net.step('UnaryOp', node, [below], _UNARY['Ceil'][1])
    scale = {0: _BINARY['Mul'], 1: 1, 2: float(size)}
    below = net.step('BinaryOp', node, [below], scale)
    index = net.memory(node, np.arange(size, dtype=np.float32).reshape(sides))
    index = net.step('BinaryOp', node, [below, index], {0: _BINARY['Add']})
    keep = node.attributes.get('keepdims', 1)
    net.add('Reduction', node, [index], params=_reduction(minimum, [axis], keep))


def reshape(net: Lowering, node: Node) -> None:
    """Reshape to the known shape."""
    net.add('Reshape', node, params=shape_params(net.shape(node.outputs[0])))


def transpose(net: Lowering, node: Node) -> None:
    """Permute.

    ncnn numbers the orders of an (h, w), (c, h, w) or (c, d, h, w) blob and
    counts axes from the last: order 0 changes nothing, 1 exchanges w and h.
    """
    order = list(node.attributes['perm'])
    if order[0] != 0:
        raise unsupported(node, 'that moves the batch')
    rank = len(order) - 1
    # axes from the last: 0 is w, 1 is h, then (d and) c
    wanted = tuple(rank - axis for axis in order[:0:-1])
    orders = sorted(permutations(range(rank)), key=lambda o: o[::-1], reverse=True)
    net.add('Permute', node, params={0: orders.index(wanted)})


def concat(net: Lowering, node: Node) -> None:
    """Concat; constant parts become blobs."""
    rank = len(net.graph.shape(node.outputs[0]))
    axis = net.axis(node, node.attributes['axis'], rank)
    constants = net.graph.constants
    blobs = [
        net.memory(node, constants[name][0]) if name in constants else name
        for name in node.inputs
    ]
    net.add('Concat', node, blobs, params={0: axis})


def crop(net: Lowering, node: Node) -> None:
    """Crop, with steps of one."""
    shape = net.graph.shape(node.inputs[0])
    starts, ends, axes, steps = (net.constant(node, i) for i in range(1, 5))
    if steps is not None and (steps != 1).any():
        raise unsupported(node, 'with a step')
    if axes is None:
        axes = np.arange(len(starts))
    cuts: dict[int, tuple[int, int]] = {}
    for axis, start, end in zip(axes, starts, ends, strict=True):
        size = shape[axis]
        first, last, _ = slice(int(start), int(end)).indices(size)
        if (first, last) != (0, size):
            cuts[net.axis(node, int(axis), len(shape))] = first, last
    if not cuts:
        net.add('Noop', node)
        return
    firsts, lasts = map(list, zip(*cuts.values(), strict=True))
    net.add('Crop', node, params={9: firsts, 10: lasts, 11: list(cuts)})


def fully_connected(net: Lowering, node: Node) -> None:
    """InnerProduct; its weight is (outputs, inputs)."""
    get = node.attributes.get
    weight, bias = net.constant(node, 1), net.constant(node, 2)
    if get('transA', 0) or get('alpha', 1.0) != 1 or get('beta', 1.0) != 1:
        raise unsupported(node, 'with transA, alpha or beta')
    weight = weight if get('transB', 0) else weight.T
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[0])
    params = {0: weight.shape[0], 1: int(bias is not None), 2: weight.size}
    weights = rules_maps.layer_weights(weight, bias)
    net.add('InnerProduct', node, params=params, weights=weights)


def detection_output(net: Lowering, node: Node) -> None:
    """DetectionOutput, with nothing left to decode.

    The operator takes ``scores`` (1, N, C + 1), the background first, and
    ``boxes`` (1, N, 4), decoded, as x0, y0, x1, y1 from 0 to 1. It returns
    (1, K, 6) with one row per box: label (the first class is 1), score, x0,
    y0, x1, y1. ``nms_top_k`` counts per class.

    ncnn decodes SSD's codes itself, but neither limits width and height nor
    clips the boxes before NMS. So it gets the final boxes as priors, and
    codes of zero; the variances, which scale the codes, are zeros too.
    """
    scores, boxes = node.inputs
    anchors, columns = net.shape(scores)
    row = (1, 4 * anchors)
    flat = net.step('Reshape', node, [boxes], shape_params(row))
    codes = net.memory(node, np.zeros(row, np.float32))
    priors = net.step('Concat', node, [flat, codes], {0: 0})
    names = 'nms_threshold', 'nms_top_k', 'keep_top_k', 'confidence_threshold'
    params = dict(enumerate((node.attributes[name] for name in names), 1))
    params[0] = columns
    net.add('DetectionOutput', node, [codes, scores, priors], params=params)


#: Rules by the name of the operator, with its domain unless it is ONNX's.
RULES: dict[str, Callable[[Lowering, Node], None]] = {
    **dict.fromkeys(_BINARY, binary),
    **dict.fromkeys(_UNARY, unary),
    **dict.fromkeys(_REDUCTIONS, reduce),
    **dict.fromkeys(('Relu', 'LeakyRelu'), relu),
    **dict.fromkeys(('Reshape', 'Flatten', 'Squeeze', 'Unsqueeze'), reshape),
    **dict.fromkeys(('MaxPool', 'AveragePool'), rules_maps.pool),
    'ArgMax': arg_max,
    'Clip': clip,
    'Concat': concat,
    'Conv': rules_maps.convolution,
    'Gemm': fully_connected,
    'GlobalAveragePool': rules_maps.global_pool,
    'Pad': rules_maps.pad,
    'Resize': rules_maps.resize,
    'Slice': crop,
    'Softmax': softmax,
    'Transpose': transpose,
    OPERATOR: detection_output,
}
