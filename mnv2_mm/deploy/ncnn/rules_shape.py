"""Reordering, cutting, joining and resizing."""

from itertools import permutations

import numpy as np

from mnv2_mm.deploy.ncnn.layer import Value
from mnv2_mm.deploy.ncnn.lowering import (
    Lowering,
    reshape_params,
    rule,
    unsupported,
)
from mnv2_mm.deploy.ncnn.node import Node

_BILINEAR, _NEAREST = 2, 1


@rule('Reshape', 'Flatten', 'Squeeze', 'Unsqueeze')
def reshape(net: Lowering, node: Node) -> None:
    """Reshape to the known shape."""
    params = reshape_params(net.shape(node.outputs[0]))
    net.add('Reshape', node, [node.inputs[0]], node.outputs[0], params)


@rule('Transpose')
def transpose(net: Lowering, node: Node) -> None:
    """Permute.

    ncnn numbers the orders of an (h, w), (c, h, w) or (c, d, h, w) blob, and
    counts them with the last axis first: 0 is none, 1 exchanges w and h.
    """
    order = list(node.attributes['perm'])
    if order[0] != 0:
        raise unsupported(node, 'that moves the batch')
    rank = len(order) - 1
    # axes from the last: 0 is w, 1 is h, then (d and) c
    wanted = tuple(rank - axis for axis in order[:0:-1])
    number = _orders(rank).index(wanted)
    net.add('Permute', node, [node.inputs[0]], node.outputs[0], {0: number})


def _orders(rank: int) -> list[tuple[int, ...]]:
    """ncnn's numbered orders of the axes w, h, (d,) c: 0, 1, ...

    >>> _orders(2), _orders(3)[3]
    ([(0, 1), (1, 0)], (2, 0, 1))
    """
    return sorted(
        permutations(range(rank)), key=lambda order: order[::-1], reverse=True
    )


@rule('Concat')
def concat(net: Lowering, node: Node) -> None:
    """Concat; constants among the parts become blobs."""
    rank = len(net.graph.shape(node.outputs[0]))
    axis = net.axis(node, node.attributes['axis'], rank)
    blobs = [
        net.memory(node, net.graph.constants[name][0])
        if net.is_constant(name)
        else name
        for name in node.inputs
    ]
    net.add('Concat', node, blobs, node.outputs[0], {0: axis})


@rule('Slice')
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
    _crop(net, node, cuts, node.outputs[0])


def _crop(
    net: Lowering, node: Node, cuts: dict[int, tuple[int, int]], output: str
) -> None:
    if not cuts:
        net.add('Noop', node, [node.inputs[0]], output)
        return
    params: dict[int, Value] = {
        9: [first for first, _ in cuts.values()],
        10: [last for _, last in cuts.values()],
        11: list(cuts),
    }
    net.add('Crop', node, [node.inputs[0]], output, params)


@rule('Split')
def split(net: Lowering, node: Node) -> None:
    """A Crop for each part that is read."""
    shape = net.graph.shape(node.inputs[0])
    axis = net.axis(node, node.attributes.get('axis', 0), len(shape))
    first = 0
    for output in node.outputs:
        last = first + net.shape(output)[axis]
        if net.graph.uses(output):
            _crop(net, node, {axis: (first, last)}, output)
        first = last


@rule('Resize')
def resize(net: Lowering, node: Node) -> None:
    """Interp, nearest or bilinear.

    ncnn's bilinear filter reads beside a map that is one value wide or high;
    such an axis is repeated first.
    """
    get = node.attributes.get
    if len(net.shape(node.inputs[0])) != 3 or get('antialias', 0):
        raise unsupported(node, 'with antialias, or of other than 2-D maps')
    before = net.shape(node.inputs[0])
    after = net.shape(node.outputs[0])
    mode = get('mode', b'nearest').decode()
    where = get('coordinate_transformation_mode', b'half_pixel').decode()
    scales = net.constant(node, 2)
    inexact = (
        scales is not None
        and scales.size
        and any(
            abs(s * n - m) > 1e-3
            for s, n, m in zip(scales[1:], before, after, strict=True)
        )
    )
    if before[0] != after[0] or inexact:
        raise unsupported(node, 'by a factor that does not fit the size')
    blob, (height, width) = node.inputs[0], before[1:]
    if mode == 'nearest':
        rounding = get('nearest_mode', b'round_prefer_floor')
        if where != 'asymmetric' or rounding != b'floor':
            raise unsupported(node, f'nearest with {where}')
        kind = _NEAREST
    elif mode == 'linear' and where in (
        'half_pixel',
        'pytorch_half_pixel',
        'align_corners',
    ):
        kind = _BILINEAR
        shrunk = any(
            m == 1 and n > 1 for n, m in zip(before[1:], after[1:], strict=True)
        )
        if shrunk and where != 'half_pixel':
            raise unsupported(node, f'to a single value with {where}')
        repeated = (
            max(after[1], 2) if height == 1 else height,
            max(after[2], 2) if width == 1 else width,
        )
        if height == width == 1:
            kind = _NEAREST
        elif repeated != (height, width):
            if where == 'align_corners' and 1 in after[1:]:
                raise unsupported(node, f'to a single value with {where}')
            params = {0: _NEAREST, 3: repeated[0], 4: repeated[1]}
            blob = net.step('Interp', node, [blob], params)
    else:
        raise unsupported(node, f'{mode} with {where}')
    params = {0: kind, 3: after[1], 4: after[2]}
    if kind == _BILINEAR and where == 'align_corners':
        params[6] = 1
    net.add('Interp', node, [blob], node.outputs[0], params)
