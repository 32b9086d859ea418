"""Random graphs of the ncnn writer's operators against onnxruntime."""

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('ncnn')
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ncnn_comparison import assert_same
from onnx_graphs import GraphBuilder, conv, crop, linear, number, pad, reshape


@st.composite
def graphs(draw):
    """Up to ten random operators; any blob can be read again."""
    side = st.integers(1, 7)
    builder = GraphBuilder(
        1, draw(side), draw(side), draw(side), seed=draw(st.integers(0, 99))
    )
    blobs = [('x', builder.shapes['x'])]
    for _ in range(draw(st.integers(1, 10))):
        name, shape = draw(st.sampled_from(blobs[-3:]))
        names = [n for n, s in STEPS if len(shape) in s]
        step = globals()[f'any_{draw(st.sampled_from(names))}']
        made = step(draw, builder, name, shape, blobs)
        if made is not None and np.prod(made[1]) < 5000:
            blobs.append(made)
    if len(blobs) == 1:
        blobs.append((builder.add('Relu', 'x'), shape))
    read = {name for node in builder.nodes for name in node.input}
    ends = [name for name, _ in blobs[1:] if name not in read]
    return builder, builder.model(*ends)


#: Names of the functions below and the ONNX ranks that each takes.
STEPS = [
    ('conv', {4}),
    ('depthwise', {4}),
    ('pool', {4}),
    ('padding', {4}),
    ('resized', {4}),
    ('flat', {3, 4, 5}),
    ('order', {3, 4, 5}),
    ('part', {2, 3, 4}),
    ('joined', {2, 3, 4}),
    ('softmax', {2, 3, 4}),
    ('reduction', {3, 4}),
    ('arithmetic', {2, 3, 4}),
    ('with_constant', {2, 3, 4}),
    ('activation', {2, 3, 4}),
]


def any_conv(draw, b, x, shape, blobs):
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    rate = [draw(st.integers(1, 2)) for _ in range(2)]
    stride = [draw(st.integers(1, 2)) for _ in range(2)]
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    size = [
        (n + pads[i] + pads[i + 2] - r * (k - 1) - 1) // s + 1
        for i, (n, k, r, s) in enumerate(
            zip(shape[2:], kernel, rate, stride, strict=True)
        )
    ]
    if min(size) < 1:
        return None
    outputs = draw(st.integers(1, 9))
    y = conv(
        b,
        x,
        shape[1],
        outputs,
        kernel,
        draw(st.booleans()),
        dilations=rate,
        strides=stride,
        pads=pads,
    )
    return y, (1, outputs, *size)


def any_depthwise(draw, b, x, shape, blobs):
    stride = draw(st.integers(1, 2))
    y = conv(
        b,
        x,
        shape[1],
        shape[1],
        group=shape[1],
        pads=[1, 1, 1, 1],
        strides=[stride, stride],
    )
    return y, (*shape[:2], *((n - 1) // stride + 1 for n in shape[2:]))


def any_pool(draw, b, x, shape, blobs):
    if draw(st.booleans()):
        return b.add('GlobalAveragePool', x), (*shape[:2], 1, 1)
    stride = draw(st.integers(1, 2))
    kind = draw(st.sampled_from(['MaxPool', 'AveragePool']))
    y = b.add(kind, x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[stride, stride])
    return y, (*shape[:2], *((n - 1) // stride + 1 for n in shape[2:]))


def any_padding(draw, b, x, shape, blobs):
    top, left, bottom, right = (draw(st.integers(0, 2)) for _ in range(4))
    y = pad(b, x, 0, 0, top, left, 0, 0, bottom, right)
    height, width = shape[2] + top + bottom, shape[3] + left + right
    return y, (*shape[:2], height, width)


def any_resized(draw, b, x, shape, blobs):
    if 1 in shape[2:] and shape[2:] != (1, 1):
        return None
    where = draw(st.sampled_from(['half_pixel', 'align_corners']))
    size = [draw(st.integers(2, 9)) for _ in range(2)]
    return linear(b, x, where, *shape[:2], *size), (*shape[:2], *size)


def any_flat(draw, b, x, shape, blobs):
    size = int(np.prod(shape))
    if draw(st.booleans()):
        return b.add('Flatten', x), (1, size)
    shape = (1, size // shape[-1], shape[-1])
    return reshape(b, x, *shape), shape


def any_order(draw, b, x, shape, blobs):
    order = [0, *draw(st.permutations(range(1, len(shape))))]
    y = b.add('Transpose', x, perm=order)
    return y, tuple(shape[axis] for axis in order)


def any_axis(draw, shape):
    return draw(st.integers(1, len(shape) - 1))


def any_part(draw, b, x, shape, blobs):
    axis = any_axis(draw, shape)
    start = draw(st.integers(0, shape[axis] - 1))
    end = draw(st.integers(start + 1, shape[axis]))
    y = crop(b, x, [start], [end], [axis])
    return y, (*shape[:axis], end - start, *shape[axis + 1 :])


def any_joined(draw, b, x, shape, blobs):
    axis = any_axis(draw, shape)
    fitting = [
        (name, other)
        for name, other in blobs
        if len(other) == len(shape)
        and other[:axis] == shape[:axis]
        and other[axis + 1 :] == shape[axis + 1 :]
    ]
    name, other = draw(st.sampled_from(fitting))
    y = b.add('Concat', x, name, axis=axis)
    size = shape[axis] + other[axis]
    return y, (*shape[:axis], size, *shape[axis + 1 :])


def any_softmax(draw, b, x, shape, blobs):
    return b.add('Softmax', x, axis=any_axis(draw, shape)), shape


def any_reduction(draw, b, x, shape, blobs):
    axis, keep = any_axis(draw, shape), draw(st.booleans())
    kind = draw(st.sampled_from(['ReduceMean', 'ReduceMax']))
    y = b.add(kind, x, axes=[axis], keepdims=int(keep))
    return y, (*shape[:axis], *[1] * keep, *shape[axis + 1 :])


def any_arithmetic(draw, b, x, shape, blobs):
    fitting = [
        (name, other)
        for name, other in blobs
        if len(other) == len(shape)
        and all(
            1 in pair or pair[0] == pair[1] for pair in zip(shape, other, strict=True)
        )
    ]
    name, other = draw(st.sampled_from(fitting))
    pair = draw(st.permutations([x, name]))
    kind = draw(st.sampled_from(['Add', 'Sub', 'Mul', 'Max', 'Min']))
    return b.add(kind, *pair), np.broadcast_shapes(shape, other)


def any_with_constant(draw, b, x, shape, blobs):
    given_shape = [n if draw(st.booleans()) else 1 for n in shape]
    given_shape = given_shape[draw(st.integers(0, len(shape))) :]
    pair = draw(st.permutations([x, b.weight(*given_shape)]))
    kind = draw(st.sampled_from(['Add', 'Sub', 'Mul', 'Max', 'Min']))
    return b.add(kind, *pair), shape


def any_activation(draw, b, x, shape, blobs):
    kind = draw(st.sampled_from(['Relu', 'LeakyRelu', 'Sigmoid', 'Clip']))
    limits = [number(b, 0), number(b, 6)] if kind == 'Clip' else []
    return b.add(kind, x, *limits), shape


@pytest.mark.parametrize('count', [50, pytest.param(500, marks=pytest.mark.slow)])
def test_random_graphs(count, tmp_path):
    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=graphs())
    def same(case):
        assert_same(*case, tmp_path)

    same()
