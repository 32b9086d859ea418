"""Rules of the operators on 2-D maps: convolution, padding, pooling, resize."""

from typing import NamedTuple

import numpy as np

from mnv2_mm.deploy.ncnn.graph import Node
from mnv2_mm.deploy.ncnn.layer import Value, Weight
from mnv2_mm.deploy.ncnn.lowering import Lowering, unsupported

#: ncnn's numbers of Interp.
_NEAREST, _BILINEAR = 1, 2
_MODES = ('half_pixel', 'pytorch_half_pixel', 'align_corners')


class _Window(NamedTuple):
    """A window that moves over a map; pairs are (h, w) or (top, left)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]


def _window(net: Lowering, node: Node, kernel: tuple[int, ...]) -> _Window:
    get = node.attributes.get
    if len(kernel) != 2 or len(net.shape(node.inputs[0])) != 3:
        raise unsupported(node, f'of {len(kernel)} dimensions')
    if get('auto_pad', b'NOTSET') not in (b'NOTSET', b'VALID'):
        raise unsupported(node, f'with auto_pad={get("auto_pad").decode()}')
    pads = tuple(get('pads', (0, 0, 0, 0)))
    one = (1, 1)
    stride, dilation = tuple(get('strides', one)), tuple(get('dilations', one))
    return _Window(tuple(kernel), stride, dilation, pads[:2], pads[2:])


def convolution(net: Lowering, node: Node) -> None:
    """Convolution, or ConvolutionDepthWise with groups."""
    weight, bias = net.constant(node, 1), net.constant(node, 2)
    window = _window(net, node, weight.shape[2:])
    source = node.inputs[0]
    (top, left), (bottom, right) = window.before, window.after
    padding = net.sole_maker(source)
    if padding is not None and padding.type == 'Padding':
        top, bottom, left, right = (
            inner + padding.params[key]
            for key, inner in enumerate((top, bottom, left, right))
        )
        source = padding.inputs[0]
        net.remove(padding)
    groups = node.attributes.get('group', 1)
    params: dict[int, Value] = {
        0: weight.shape[0],
        1: window.kernel[1],
        11: window.kernel[0],
        2: window.dilation[1],
        12: window.dilation[0],
        3: window.stride[1],
        13: window.stride[0],
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
    net.add(type_, node, [source], params=params, weights=weights)


def pad(net: Lowering, node: Node) -> None:
    """Padding of rows and columns with zeros."""
    amounts, value = net.constant(node, 1), net.constant(node, 2)
    mode = node.attributes.get('mode', b'constant').decode()
    rank = len(net.graph.shape(node.inputs[0]))
    if mode != 'constant' or (value is not None and value.any()):
        raise unsupported(node, 'with other values than zero')
    before, after = amounts[:rank], amounts[rank:]
    if rank != 4 or before[:2].any() or after[:2].any():
        raise unsupported(node, 'of other axes than rows and columns')
    if amounts.min() < 0:
        raise unsupported(node, 'with negative amounts')
    sides = before[2], after[2], before[3], after[3]
    net.add('Padding', node, params=dict(enumerate(map(int, sides))))


def pool(net: Lowering, node: Node) -> None:
    """Pooling over a window."""
    get = node.attributes.get
    window = _window(net, node, get('kernel_shape'))
    if get('ceil_mode', 0) or window.dilation != (1, 1):
        raise unsupported(node, 'with ceil_mode or dilations')
    (top, left), (bottom, right) = window.before, window.after
    params: dict[int, Value] = {
        0: int(node.op == 'AveragePool'),
        1: window.kernel[1],
        11: window.kernel[0],
        2: window.stride[1],
        12: window.stride[0],
        3: left,
        14: right,
        13: top,
        15: bottom,
        5: 1,  # rounds down
        6: get('count_include_pad', 0),
    }
    net.add('Pooling', node, params=params)


def global_pool(net: Lowering, node: Node) -> None:
    """Adaptive pooling to 1x1: ncnn's global pooling drops two dimensions."""
    if len(net.shape(node.inputs[0])) != 3:
        raise unsupported(node, 'of other than 2-D maps')
    net.add('Pooling', node, params={0: 1, 7: 1, 8: 1, 18: 1})


def resize(net: Lowering, node: Node) -> None:
    """Interp, bilinear.

    ncnn's bilinear filter reads beyond a map of one row or column. One value
    is repeated instead, and other such maps are refused.
    """
    get = node.attributes.get
    before, after = net.shape(node.inputs[0]), net.shape(node.outputs[0])
    if len(before) != 3 or before[0] != after[0] or get('antialias', 0):
        raise unsupported(node, 'with antialias, or of other axes than rows, columns')
    mode = get('mode', b'nearest').decode()
    where = get('coordinate_transformation_mode', b'half_pixel').decode()
    if mode != 'linear' or where not in _MODES:
        raise unsupported(node, f'{mode} with {where}')
    scales = net.constant(node, 2)
    if scales is not None and scales.size:
        sides = zip(scales[1:], before, after, strict=True)
        if any(abs(s * n - m) > 1e-3 for s, n, m in sides):
            raise unsupported(node, 'by a factor that does not fit the size')
    params = {0: _BILINEAR, 3: after[1], 4: after[2]}
    if before[1:] == (1, 1):
        params[0] = _NEAREST
    elif 1 in (*before[1:], *after[1:]):
        raise unsupported(node, 'from or to one row or column')
    elif where == 'align_corners':
        params[6] = 1
    net.add('Interp', node, params=params)
