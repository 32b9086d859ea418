"""The ncnn writer's operators against onnxruntime, one and many at a time."""

import itertools

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('ncnn')
import onnxruntime as ort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_graphs import GraphBuilder

from mnv2_mm.deploy.ncnn import write
from mnv2_mm.deploy.ncnn.runner import Runner

INT = np.int64


def run_both(builder, model, folder, picture=None):
    """Outputs of onnxruntime and of ncnn, by name."""
    picture = builder.picture() if picture is None else picture
    options = ort.SessionOptions()
    # its fusion of padding and pooling refuses valid graphs
    options.graph_optimization_level = (
        ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    session = ort.InferenceSession(
        model.SerializeToString(),
        options,
        providers=['CPUExecutionProvider'],
    )
    names = [output.name for output in session.get_outputs()]
    wanted = session.run(names, {'x': picture})
    paths = folder / 'a.param', folder / 'a.bin'
    write(model, *paths)
    found = Runner(*paths).run(picture)
    assert set(found) == set(names)
    return {n: (w, found[n]) for n, w in zip(names, wanted, strict=True)}


def assert_same(builder, model, folder, picture=None):
    for wanted, found in run_both(builder, model, folder, picture).values():
        assert found.shape == wanted.shape
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)


def conv(b, x, c_in, c_out, k=(3, 3), bias=True, group=1, **attributes):
    weights = [b.weight(c_out, c_in // group, *k)]
    weights += [b.weight(c_out)] if bias else []
    return b.add('Conv', x, *weights, group=group, **attributes)


def pad(b, x, *amounts, **attributes):
    return b.add('Pad', x, b.constant(amounts, INT), **attributes)


def crop(b, x, starts, ends, axes, *steps):
    return b.add(
        'Slice', x, *(b.constant(v, INT) for v in (starts, ends, axes, *steps))
    )


def resize(b, x, size, **attributes):
    empty = b.constant([], np.float32)
    sizes = b.constant(size, INT)
    return b.add('Resize', x, empty, empty, sizes, **attributes)


def linear(b, x, where, *size):
    return resize(
        b, x, size, mode='linear', coordinate_transformation_mode=where
    )


def nearest(b, x, *size):
    return resize(
        b,
        x,
        size,
        mode='nearest',
        nearest_mode='floor',
        coordinate_transformation_mode='asymmetric',
    )


def reshape(b, x, *shape):
    return b.add('Reshape', x, b.constant(shape, INT))


def number(b, value):
    return b.constant(value, np.float32)


#: (input shape without the batch, what is added to the builder b at x)
CASES = {
    'conv': (
        (3, 5, 7),
        lambda b: conv(b, 'x', 3, 4, pads=[1, 0, 1, 2], strides=[2, 1]),
    ),
    'conv of a rate': (
        (3, 9, 9),
        lambda b: conv(
            b, 'x', 3, 2, (3, 2), False, pads=[2, 1, 2, 1], dilations=[2, 1]
        ),
    ),
    'depthwise': (
        (4, 6, 5),
        lambda b: conv(b, 'x', 4, 4, group=4, pads=[1, 1, 1, 1]),
    ),
    'groups': (
        (4, 6, 5),
        lambda b: conv(b, 'x', 4, 6, group=2, bias=False),
    ),
    'ReLU6 inside a conv': (
        (3, 5, 5),
        lambda b: b.add(
            'Clip', conv(b, 'x', 3, 8), number(b, 0), number(b, 6)
        ),
    ),
    'ReLU inside a conv': (
        (3, 5, 5),
        lambda b: b.add('Relu', conv(b, 'x', 3, 5, (1, 1))),
    ),
    'leaky ReLU inside a conv': (
        (4, 5, 5),
        lambda b: b.add('LeakyRelu', conv(b, 'x', 4, 4, group=4), alpha=0.1),
    ),
    'two activations': (
        (3, 5, 5),
        lambda b: b.add(
            'Clip',
            b.add('LeakyRelu', conv(b, 'x', 3, 5), alpha=0.5),
            number(b, -0.5),
        ),
    ),
    'an activation and what it read': (
        (3, 5, 5),
        lambda b: b.add('Add', b.add('Relu', y := conv(b, 'x', 3, 5)), y),
    ),
    'SAME padding before a conv': (
        (3, 6, 6),
        lambda b: conv(
            b, pad(b, 'x', 0, 0, 0, 0, 0, 0, 1, 1), 3, 4, strides=[2, 2]
        ),
    ),
    'two paddings': (
        (3, 4, 6),
        lambda b: conv(
            b, pad(b, 'x', 0, 0, 1, 0, 0, 0, 0, 2), 3, 4, pads=[1, 2, 3, 4]
        ),
    ),
    'padding with a value': (
        (3, 4, 6),
        lambda b: conv(
            b,
            b.add(
                'Pad',
                'x',
                b.constant([0, 0, 1, 0, 0, 0, 0, 2], INT),
                number(b, 2.5),
            ),
            3,
            4,
        ),
    ),
    'padding by reflection': (
        (3, 4, 6),
        lambda b: conv(
            b, pad(b, 'x', 0, 0, 1, 0, 0, 0, 2, 1, mode='reflect'), 3, 4
        ),
    ),
    'padding by repetition': (
        (3, 4, 6),
        lambda b: pad(b, 'x', 0, 0, 1, 0, 0, 0, 2, 1, mode='edge'),
    ),
    'fully connected': (
        (6,),
        lambda b: b.add('Gemm', 'x', b.weight(4, 6), b.weight(4), transB=1),
    ),
    'fully connected, transposed': (
        (6,),
        lambda b: b.add('Gemm', 'x', b.weight(6, 4)),
    ),
    'batch norm': (
        (3, 4, 5),
        lambda b: b.add(
            'BatchNormalization',
            'x',
            *(b.constant([1, -2, 3], np.float32) for _ in range(3)),
            b.constant([0.5, 1, 2], np.float32),
            epsilon=0.1,
        ),
    ),
    'max pool': (
        (3, 7, 8),
        lambda b: b.add(
            'MaxPool',
            'x',
            kernel_shape=[3, 2],
            strides=[2, 1],
            pads=[1, 0, 1, 1],
        ),
    ),
    'average pool': (
        (3, 7, 8),
        lambda b: b.add(
            'AveragePool', 'x', kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        ),
    ),
    'average pool with its border': (
        (3, 7, 8),
        lambda b: b.add(
            'AveragePool',
            'x',
            kernel_shape=[3, 2],
            pads=[1, 1, 1, 1],
            strides=[2, 2],
            count_include_pad=1,
        ),
    ),
    'global average': (
        (5, 7, 8),
        lambda b: b.add('GlobalAveragePool', 'x'),
    ),
    'global maximum': ((5, 7, 8), lambda b: b.add('GlobalMaxPool', 'x')),
    'global average, flat': (
        (5, 7, 8),
        lambda b: b.add('Flatten', b.add('GlobalAveragePool', 'x')),
    ),
    'reflected number': (
        (3, 4),
        lambda b: b.add('Sub', number(b, 1.5), 'x'),
    ),
    'divided number': (
        (3, 4),
        lambda b: b.add('Div', number(b, [1.5]), 'x'),
    ),
    'divided array': (
        (3, 4),
        lambda b: b.add('Div', b.weight(1, 3, 1), 'x'),
    ),
    'fewer dimensions': (
        (3, 4, 5),
        lambda b: b.add('Add', b.weight(4, 1), 'x'),
    ),
    'a channel each': (
        (3, 4, 5),
        lambda b: b.add('Mul', 'x', b.weight(1, 3, 1, 1)),
    ),
    'both are repeated': (
        (3, 1, 5),
        lambda b: b.add('Min', 'x', b.weight(1, 1, 4, 5)),
    ),
    'blobs of unlike ranks': (
        (3, 4, 5),
        lambda b: b.add(
            'Max',
            'x',
            b.add('ReduceMean', 'x', axes=[1], keepdims=0),
        ),
    ),
    'softmax of channels': (
        (5, 3, 4),
        lambda b: b.add('Softmax', 'x', axis=1),
    ),
    'softmax of the last': ((5, 3, 4), lambda b: b.add('Softmax', 'x')),
    'softmax of rows': ((5, 4), lambda b: b.add('Softmax', 'x', axis=-2)),
    'hard sigmoid': (
        (5, 4),
        lambda b: b.add('HardSigmoid', 'x', alpha=0.3, beta=0.4),
    ),
    'concat of channels': (
        (2, 3, 4),
        lambda b: b.add('Concat', 'x', 'x', b.weight(1, 1, 3, 4), axis=1),
    ),
    'concat of columns': (
        (2, 3, 4),
        lambda b: b.add('Concat', 'x', 'x', axis=-1),
    ),
    'slice': (
        (4, 5, 6),
        lambda b: crop(b, 'x', [1, -4], [3, 10**10], [1, 3], [1, 1]),
    ),
    'slice of nothing': (
        (4, 5),
        lambda b: b.add('Relu', crop(b, 'x', [0], [5], [2])),
    ),
    'channel shuffle': (
        (6, 3, 4),
        lambda b: reshape(
            b,
            b.add(
                'Transpose',
                reshape(b, 'x', 1, 2, 3, 3, 4),
                perm=[0, 2, 1, 3, 4],
            ),
            1,
            6,
            3,
            4,
        ),
    ),
    'rows of anchors': (
        (8, 2, 3),
        lambda b: reshape(
            b, b.add('Transpose', 'x', perm=[0, 2, 3, 1]), 1, -1, 4
        ),
    ),
    'linear, half pixel': (
        (2, 3, 4),
        lambda b: linear(b, 'x', 'half_pixel', 1, 2, 7, 9),
    ),
    'linear, smaller': (
        (2, 7, 9),
        lambda b: linear(b, 'x', 'pytorch_half_pixel', 1, 2, 4, 3),
    ),
    'linear, corners': (
        (2, 3, 4),
        lambda b: linear(b, 'x', 'align_corners', 1, 2, 9, 7),
    ),
    'linear, from one value': (
        (2, 1, 1),
        lambda b: linear(b, 'x', 'align_corners', 1, 2, 4, 3),
    ),
    'linear, from one row': (
        (2, 1, 4),
        lambda b: linear(b, 'x', 'align_corners', 1, 2, 4, 7),
    ),
    'linear, one column stays': (
        (2, 3, 1),
        lambda b: linear(b, 'x', 'half_pixel', 1, 2, 7, 1),
    ),
    'nearest': ((2, 3, 4), lambda b: nearest(b, 'x', 1, 2, 6, 12)),
    'nearest, smaller': ((2, 6, 8), lambda b: nearest(b, 'x', 1, 2, 3, 2)),
    'sum': (
        (3, 4, 5),
        lambda b: b.add('ReduceSum', 'x', b.constant([2], INT)),
    ),
    'mean of maps': (
        (3, 4, 5),
        lambda b: b.add('ReduceMean', 'x', axes=[2, 3]),
    ),
    'smallest row': (
        (3, 4),
        lambda b: b.add('ReduceMin', 'x', axes=[-1], keepdims=0),
    ),
    'argmax of channels': (
        (5, 3, 4),
        lambda b: b.add('ArgMax', 'x', axis=1, keepdims=0),
    ),
    'argmax of columns': (
        (3, 4),
        lambda b: b.add('ArgMax', 'x', axis=-1),
    ),
    'dropout and identity': (
        (3, 4),
        lambda b: b.add('Identity', b.add('Dropout', b.add('Relu', 'x'))),
    ),
}
for name in ('Abs', 'Neg', 'Floor', 'Ceil', 'Exp', 'Sigmoid', 'Tanh'):
    CASES[name] = (3, 4, 5), lambda b, name=name: b.add(name, 'x')
for name in ('Sqrt', 'Log', 'Reciprocal'):
    CASES[name] = (3, 9), lambda b, name=name: b.add(name, b.add('Exp', 'x'))
for name in ('Add', 'Sub', 'Mul', 'Div', 'Max', 'Min'):
    CASES[f'{name} of blobs'] = (
        (3, 4, 5),
        lambda b, name=name: b.add(name, 'x', b.add('Exp', 'x')),
    )


@pytest.mark.parametrize(
    'case', CASES, ids=lambda case: case.replace(' ', '-')
)
def test_operator(case, tmp_path):
    shape, add = CASES[case]
    builder = GraphBuilder(1, *shape)
    add(builder)
    assert_same(builder, builder.model(), tmp_path)


@pytest.mark.parametrize('rank', [2, 3, 4])
def test_every_order_of_axes(rank, tmp_path):
    """All 2, 6 and 24 orders, as outputs of one network."""
    builder = GraphBuilder(1, *(2, 3, 4, 5)[:rank])
    outputs = [
        builder.add('Transpose', 'x', perm=[0, *order])
        for order in itertools.permutations(range(1, rank + 1))
    ]
    for wanted, found in run_both(
        builder, builder.model(*outputs), tmp_path
    ).values():
        np.testing.assert_array_equal(found, wanted)


def test_argmax_takes_the_first_of_equals(tmp_path):
    """Ties, neighbours in float32, and numbers of any size."""
    builder = GraphBuilder(1, 4, 1, 6)
    builder.add('ArgMax', 'x', axis=1, keepdims=0)
    picture = np.array(
        [
            [1.0, -1e30, 0.0, 1.0, 1e-37, -7.0],
            [2.0, -1e-30, 0.0, np.nextafter(np.float32(1), 2), 0.0, -7.0],
            [2.0, 1e-30, 0.0, 1.0, 2e-37, -7.0],
            [0.0, 1e30, 0.0, 0.0, 2e-37, -6.0],
        ],
        np.float32,
    )[None, :, None]
    ((_, found),) = run_both(
        builder, builder.model(), tmp_path, picture
    ).values()
    assert found.tolist() == [[[1, 3, 0, 1, 2, 3]]]


def test_an_output_inside_the_network(tmp_path):
    """One output is read by later nodes too, one stands behind an alias."""
    builder = GraphBuilder(1, 3, 4, 4)
    first = builder.add('Relu', conv(builder, 'x', 3, 3, (1, 1)))
    second = builder.add('Sigmoid', builder.add('Identity', first))
    third = builder.add('Identity', second)
    assert_same(builder, builder.model(first, third), tmp_path)


@pytest.mark.parametrize('many', [1, 4])
def test_detections(many, tmp_path):
    """NMS by hand: of two boxes that overlap by 2/3, the better one."""
    builder = GraphBuilder(1, 4, 2)
    scores = builder.add(
        'Concat',
        builder.constant(np.zeros((1, 4, 1)), np.float32),
        'x',
        axis=2,
    )
    boxes = builder.constant(
        [[[0, 0, 0.5, 1], [0.1, 0, 0.6, 1], [0.6, 0, 1, 1], [0, 0, 1, 1]]],
        np.float32,
    )
    boxes = builder.add(
        'Add',
        boxes,
        builder.add(
            'Mul', crop(builder, 'x', [0], [1], [2]), number(builder, 0)
        ),
    )
    builder.add(
        'DetectionOutput',
        scores,
        boxes,
        domain='mnv2_mm',
        num_classes=2,
        confidence_threshold=0.25,
        nms_threshold=0.6,
        nms_top_k=4,
        keep_top_k=many,
    )
    paths = tmp_path / 'a.param', tmp_path / 'a.bin'
    write(builder.model(), *paths)
    runner = Runner(*paths)
    values = np.array(
        [[[0.5, 0.9], [0.75, 0.1], [0.25, 0], [0, 0.3]]], np.float32
    )
    (found,) = runner.run(values).values()
    wanted = [
        [2, 0.9, 0, 0, 0.5, 1],
        [1, 0.75, 0.1, 0, 0.6, 1],
        [2, 0.3, 0, 0, 1, 1],
    ]
    np.testing.assert_allclose(found[0], wanted[:many], atol=1e-6)
    (found,) = runner.run(np.zeros((1, 4, 2), np.float32)).values()
    assert found.shape == (1, 0, 6)


# --------------------------------------------------------------------- fuzz
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
    y = b.add(
        kind,
        x,
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[stride, stride],
    )
    return y, (*shape[:2], *((n - 1) // stride + 1 for n in shape[2:]))


def any_padding(draw, b, x, shape, blobs):
    top, left, bottom, right = (draw(st.integers(0, 2)) for _ in range(4))
    y = pad(b, x, 0, 0, top, left, 0, 0, bottom, right)
    height, width = shape[2] + top + bottom, shape[3] + left + right
    return y, (*shape[:2], height, width)


def any_resized(draw, b, x, shape, blobs):
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
        if all(
            1 in pair or pair[0] == pair[1]
            for pair in zip(shape[::-1], other[::-1], strict=False)
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
    kind = draw(
        st.sampled_from(['Relu', 'LeakyRelu', 'Sigmoid', 'Tanh', 'Clip'])
    )
    limits = [number(b, 0), number(b, 6)] if kind == 'Clip' else []
    return b.add(kind, x, *limits), shape


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(case=graphs())
def test_random_graphs(case, tmp_path_factory):
    builder, model = case
    folder = tmp_path_factory.getbasetemp() / 'fuzz'
    folder.mkdir(exist_ok=True)
    assert_same(builder, model, folder)
