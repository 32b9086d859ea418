"""Convolution, fully connected layer, batch norm, padding and pooling."""

import numpy as np

from mnv2_mm.deploy.ncnn.layer import Value, Weight
from mnv2_mm.deploy.ncnn.lowering import Lowering, rule, unsupported
from mnv2_mm.deploy.ncnn.node import Node

_PAD_TYPES = {b'constant': 0, b'edge': 1, b'reflect': 2}


def _window(
    net: Lowering, node: Node, kernel: tuple[int, ...]
) -> dict[str, tuple[int, int]]:
    """Kernel, stride, dilation and padding of a 2-D window, as (h, w)."""
    get = node.attributes.get
    if len(kernel) != 2 or len(net.shape(node.inputs[0])) != 3:
        raise unsupported(node, f'of {len(kernel)} dimensions')
    if get('auto_pad', b'NOTSET') not in (b'NOTSET', b'VALID'):
        raise unsupported(node, f'with auto_pad={get("auto_pad").decode()}')
    pads = tuple(get('pads', (0, 0, 0, 0)))
    return dict(
        kernel=tuple(kernel),
        stride=tuple(get('strides', (1, 1))),
        dilation=tuple(get('dilations', (1, 1))),
        before=pads[:2],
        after=pads[2:],
    )


@rule('Conv')
def convolution(net: Lowering, node: Node) -> None:
    """Convolution, or ConvolutionDepthWise with groups."""
    weight, bias = net.constant(node, 1), net.constant(node, 2)
    window = _window(net, node, weight.shape[2:])
    source = node.inputs[0]
    (top, left), (bottom, right) = window['before'], window['after']
    padding = net.sole_maker(source)
    if padding is not None and _is_zero_padding(padding.params, padding.type):
        top, bottom, left, right = (
            inner + padding.params.get(key, 0)
            for key, inner in enumerate((top, bottom, left, right))
        )
        source = padding.inputs[0]
        net.remove(padding)
    groups = node.attributes.get('group', 1)
    params: dict[int, Value] = {
        0: weight.shape[0],
        1: window['kernel'][1],
        11: window['kernel'][0],
        2: window['dilation'][1],
        12: window['dilation'][0],
        3: window['stride'][1],
        13: window['stride'][0],
        4: left,
        15: right,
        14: top,
        16: bottom,
        5: int(bias is not None),
        6: weight.size,
    }
    if groups > 1:
        params[7] = groups
    weights = [Weight(weight.astype(np.float32), tagged=True)]
    if bias is not None:
        weights.append(Weight(bias.astype(np.float32)))
    type_ = 'Convolution' if groups == 1 else 'ConvolutionDepthWise'
    net.add(type_, node, [source], node.outputs[0], params, weights)


def _is_zero_padding(params: dict[int, Value], type_: str) -> bool:
    """Whether a layer pads rows and columns with zeros, and nothing else."""
    return type_ == 'Padding' and not any(params.get(key, 0) for key in (4, 5, 7, 8))


@rule('Gemm')
def fully_connected(net: Lowering, node: Node) -> None:
    """InnerProduct; its weight is (outputs, inputs)."""
    get = node.attributes.get
    weight, bias = net.constant(node, 1), net.constant(node, 2)
    if get('transA', 0) or get('alpha', 1.0) != 1 or get('beta', 1.0) != 1:
        raise unsupported(node, 'with transA, alpha or beta')
    weight = weight if get('transB', 0) else weight.T
    weights = [Weight(weight.astype(np.float32), tagged=True)]
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[0])
        weights.append(Weight(bias.astype(np.float32)))
    params = {0: weight.shape[0], 1: int(bias is not None), 2: weight.size}
    net.add(
        'InnerProduct',
        node,
        [node.inputs[0]],
        node.outputs[0],
        params,
        weights,
    )


@rule('BatchNormalization')
def batch_norm(net: Lowering, node: Node) -> None:
    """BatchNorm; those behind a convolution the exporter has folded."""
    values = [net.constant(node, i).astype(np.float32) for i in range(1, 5)]
    slope, bias, mean, variance = values
    net.add(
        'BatchNorm',
        node,
        [node.inputs[0]],
        node.outputs[0],
        {0: slope.size, 1: node.attributes.get('epsilon', 1e-5)},
        [Weight(v) for v in (slope, mean, variance, bias)],
    )


@rule('Pad')
def pad(net: Lowering, node: Node) -> None:
    """Padding of rows and columns."""
    amounts = net.constant(node, 1)
    value = net.constant(node, 2)
    mode = node.attributes.get('mode', b'constant')
    rank = len(net.graph.shape(node.inputs[0]))
    if mode not in _PAD_TYPES:
        raise unsupported(node, f'with mode {mode.decode()}')
    before, after = amounts[:rank], amounts[rank:]
    if rank != 4 or before[:2].any() or after[:2].any():
        raise unsupported(node, 'of other axes than rows and columns')
    if amounts.min() < 0:
        raise unsupported(node, 'with negative amounts')
    params: dict[int, Value] = {
        0: int(before[2]),
        1: int(after[2]),
        2: int(before[3]),
        3: int(after[3]),
        4: _PAD_TYPES[mode],
        5: float(value.reshape(-1)[0]) if value is not None and value.size else 0.0,
    }
    net.add('Padding', node, [node.inputs[0]], node.outputs[0], params)


@rule('MaxPool', 'AveragePool')
def pool(net: Lowering, node: Node) -> None:
    """Pooling over a window."""
    get = node.attributes.get
    window = _window(net, node, get('kernel_shape'))
    if get('ceil_mode', 0) or window['dilation'] != (1, 1):
        raise unsupported(node, 'with ceil_mode or dilations')
    if len(node.outputs) > 1 and node.outputs[1]:
        raise unsupported(node, 'with indices')
    (top, left), (bottom, right) = window['before'], window['after']
    params: dict[int, Value] = {
        0: int(node.op == 'AveragePool'),
        1: window['kernel'][1],
        11: window['kernel'][0],
        2: window['stride'][1],
        12: window['stride'][0],
        3: left,
        14: right,
        13: top,
        15: bottom,
        5: 1,  # rounds down
        6: get('count_include_pad', 0),
    }
    net.add('Pooling', node, [node.inputs[0]], node.outputs[0], params)


@rule('GlobalAveragePool', 'GlobalMaxPool')
def global_pool(net: Lowering, node: Node) -> None:
    """Adaptive pooling to 1x1: ncnn's global one drops two dimensions."""
    if len(net.shape(node.inputs[0])) != 3:
        raise unsupported(node, 'of other than 2-D maps')
    params = {0: int(node.op == 'GlobalAveragePool'), 7: 1, 8: 1, 18: 1}
    net.add('Pooling', node, [node.inputs[0]], node.outputs[0], params)
