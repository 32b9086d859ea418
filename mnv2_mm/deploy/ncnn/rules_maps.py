"""Rules of the operators on 2-D maps: convolution, padding, pooling, resize."""

from collections.abc import Sequence

import numpy as np

from mnv2_mm.deploy.ncnn.graph import Node
from mnv2_mm.deploy.ncnn.layer import Value, Weight
from mnv2_mm.deploy.ncnn.lowering import Lowering, unsupported

#: ncnn's numbers of Interp.
_NEAREST, _BILINEAR = 1, 2
_MODES = ('half_pixel', 'pytorch_half_pixel', 'align_corners')


def _window(net: Lowering, node: Node, kernel: Sequence[int]) -> list[Sequence[int]]:
    """Kernel, strides and dilations (h, w), pads (top, left, bottom, right)."""
    get = node.attributes.get
    if len(kernel) != 2 or len(net.shape(node.inputs[0])) != 3:
        raise unsupported(node, f'of {len(kernel)} dimensions')
    if get('auto_pad', b'NOTSET') not in (b'NOTSET', b'VALID'):
        raise unsupported(node, f'with auto_pad={get("auto_pad").decode()}')
    names = {'strides': (1, 1), 'dilations': (1, 1), 'pads': (0, 0, 0, 0)}
    return [kernel, *(get(name, default) for name, default in names.items())]


def convolution(net: Lowering, node: Node) -> None:
    """Convolution, or ConvolutionDepthWise with groups."""
    weight, bias = net.constant(node, 1), net.constant(node, 2)
    kernel, stride, dilation, pads = _window(net, node, weight.shape[2:])
    groups = node.attributes.get('group', 1)
    params: dict[int, Value] = {0: weight.shape[0], 5: int(bias is not None)}
    params |= {6: weight.size, 11: kernel[0], 1: kernel[1]}
    params |= {12: dilation[0], 2: dilation[1], 13: stride[0], 3: stride[1]}
    params |= dict(zip((14, 4, 16, 15), pads, strict=True))
    if groups > 1:
        params[7] = groups
    type_ = 'Convolution' if groups == 1 else 'ConvolutionDepthWise'
    net.add(type_, node, params=params, weights=layer_weights(weight, bias))


def layer_weights(weight: np.ndarray, bias: np.ndarray | None) -> list[Weight]:
    """Weights of a convolution or a fully connected layer."""
    weights = [Weight(weight.astype(np.float32), tagged=True)]
    return weights if bias is None else [*weights, Weight(bias.astype(np.float32))]


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
    kernel, stride, dilation, pads = _window(net, node, get('kernel_shape'))
    if get('ceil_mode', 0) or tuple(dilation) != (1, 1):
        raise unsupported(node, 'with ceil_mode or dilations')
    # 5=1 rounds down
    params = {0: int(node.op == 'AveragePool'), 5: 1, 6: get('count_include_pad', 0)}
    params |= {11: kernel[0], 1: kernel[1], 12: stride[0], 2: stride[1]}
    params |= dict(zip((13, 3, 15, 14), pads, strict=True))
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
