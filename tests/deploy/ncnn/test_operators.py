"""Every operator of the ncnn writer against onnxruntime."""

import itertools

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('ncnn')
from ncnn_comparison import assert_same, run_both
from onnx_graphs import GraphBuilder, conv, crop, linear, number, pad, reshape

from mnv2_mm.deploy.ncnn.write import write
from mnv2_mm.runtime.ncnn import Ncnn

INT = np.int64


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
    'depthwise': ((4, 6, 5), lambda b: conv(b, 'x', 4, 4, group=4, pads=[1, 1, 1, 1])),
    'groups': ((4, 6, 5), lambda b: conv(b, 'x', 4, 6, group=2, bias=False)),
    'ReLU6 inside a conv': (
        (3, 5, 5),
        lambda b: b.add('Clip', conv(b, 'x', 3, 8), number(b, 0), number(b, 6)),
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
            'Clip', b.add('LeakyRelu', conv(b, 'x', 3, 5), alpha=0.5), number(b, -0.5)
        ),
    ),
    'an activation and what it read': (
        (3, 5, 5),
        lambda b: b.add('Add', b.add('Relu', y := conv(b, 'x', 3, 5)), y),
    ),
    'SAME padding before a conv': (
        (3, 6, 6),
        lambda b: conv(b, pad(b, 'x', 0, 0, 0, 0, 0, 0, 1, 1), 3, 4, strides=[2, 2]),
    ),
    'two paddings': (
        (3, 4, 6),
        lambda b: conv(b, pad(b, 'x', 0, 0, 1, 0, 0, 0, 0, 2), 3, 4, pads=[1, 2, 3, 4]),
    ),
    'fully connected': (
        (6,),
        lambda b: b.add('Gemm', 'x', b.weight(4, 6), b.weight(4), transB=1),
    ),
    'fully connected, transposed': ((6,), lambda b: b.add('Gemm', 'x', b.weight(6, 4))),
    'max pool': (
        (3, 7, 8),
        lambda b: b.add(
            'MaxPool', 'x', kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]
        ),
    ),
    'average pool': (
        (3, 7, 8),
        lambda b: b.add('AveragePool', 'x', kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
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
    'global average': ((5, 7, 8), lambda b: b.add('GlobalAveragePool', 'x')),
    'global average, flat': (
        (5, 7, 8),
        lambda b: b.add('Flatten', b.add('GlobalAveragePool', 'x')),
    ),
    'reflected number': ((3, 4), lambda b: b.add('Sub', number(b, 1.5), 'x')),
    'fewer dimensions': ((3, 4, 5), lambda b: b.add('Add', b.weight(4, 1), 'x')),
    'a channel each': ((3, 4, 5), lambda b: b.add('Mul', 'x', b.weight(1, 3, 1, 1))),
    'both are repeated': ((3, 1, 5), lambda b: b.add('Min', 'x', b.weight(1, 1, 4, 5))),
    'softmax of channels': ((5, 3, 4), lambda b: b.add('Softmax', 'x', axis=1)),
    'softmax of the last': ((5, 3, 4), lambda b: b.add('Softmax', 'x')),
    'softmax of rows': ((5, 4), lambda b: b.add('Softmax', 'x', axis=-2)),
    'concat of channels': (
        (2, 3, 4),
        lambda b: b.add('Concat', 'x', 'x', b.weight(1, 1, 3, 4), axis=1),
    ),
    'concat of columns': ((2, 3, 4), lambda b: b.add('Concat', 'x', 'x', axis=-1)),
    'slice': ((4, 5, 6), lambda b: crop(b, 'x', [1, -4], [3, 10**10], [1, 3], [1, 1])),
    'slice of nothing': ((4, 5), lambda b: b.add('Relu', crop(b, 'x', [0], [5], [2]))),
    'channel shuffle': (
        (6, 3, 4),
        lambda b: reshape(
            b,
            b.add('Transpose', reshape(b, 'x', 1, 2, 3, 3, 4), perm=[0, 2, 1, 3, 4]),
            1,
            6,
            3,
            4,
        ),
    ),
    'rows of anchors': (
        (8, 2, 3),
        lambda b: reshape(b, b.add('Transpose', 'x', perm=[0, 2, 3, 1]), 1, -1, 4),
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
    'mean of maps': ((3, 4, 5), lambda b: b.add('ReduceMean', 'x', axes=[2, 3])),
    'smallest row': ((3, 4), lambda b: b.add('ReduceMin', 'x', axes=[-1], keepdims=0)),
    'argmax of channels': (
        (5, 3, 4),
        lambda b: b.add('ArgMax', 'x', axis=1, keepdims=0),
    ),
    'argmax of columns': ((3, 4), lambda b: b.add('ArgMax', 'x', axis=-1)),
    'dropout and identity': (
        (3, 4),
        lambda b: b.add('Identity', b.add('Dropout', b.add('Relu', 'x'))),
    ),
}
for name in ('Ceil', 'Exp', 'Sigmoid'):
    CASES[name] = (3, 4, 5), lambda b, name=name: b.add(name, 'x')
for name in ('Add', 'Sub', 'Mul', 'Max', 'Min'):
    CASES[f'{name} of blobs'] = (
        (3, 4, 5),
        lambda b, name=name: b.add(name, 'x', b.add('Exp', 'x')),
    )


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.replace(' ', '-'))
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
    for wanted, found in run_both(builder, builder.model(*outputs), tmp_path).values():
        np.testing.assert_array_equal(found, wanted)


def test_argmax_takes_the_first_of_equals(tmp_path):
    """Ties, neighbors in float32, and numbers of any size."""
    builder = GraphBuilder(1, 4, 1, 6)
    builder.add('ArgMax', 'x', axis=1, keepdims=0)
    image = np.array(
        [
            [1.0, -1e30, 0.0, 1.0, 1e-37, -7.0],
            [2.0, -1e-30, 0.0, np.nextafter(np.float32(1), 2), 0.0, -7.0],
            [2.0, 1e-30, 0.0, 1.0, 2e-37, -7.0],
            [0.0, 1e30, 0.0, 0.0, 2e-37, -6.0],
        ],
        np.float32,
    )[None, :, None]
    ((_, found),) = run_both(builder, builder.model(), tmp_path, image).values()
    assert found.tolist() == [[[1, 3, 0, 1, 2, 3]]]


def test_an_output_inside_the_network(tmp_path):
    """One output is read by later nodes too, one is an alias."""
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
        'Concat', builder.constant(np.zeros((1, 4, 1)), np.float32), 'x', axis=2
    )
    boxes = builder.constant(
        [[[0, 0, 0.5, 1], [0.1, 0, 0.6, 1], [0.6, 0, 1, 1], [0, 0, 1, 1]]], np.float32
    )
    boxes = builder.add(
        'Add',
        boxes,
        builder.add('Mul', crop(builder, 'x', [0], [1], [2]), number(builder, 0)),
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
    model = builder.model()
    # ONNX cannot infer it, and PyTorch's exporter writes it
    model.graph.output[0].type.tensor_type.elem_type = 1
    write(model, *paths)
    runner = Ncnn(paths)
    values = np.array([[[0.5, 0.9], [0.75, 0.1], [0.25, 0], [0, 0.3]]], np.float32)
    (found,) = runner.run(values).values()
    wanted = [[2, 0.9, 0, 0, 0.5, 1], [1, 0.75, 0.1, 0, 0.6, 1], [2, 0.3, 0, 0, 1, 1]]
    np.testing.assert_allclose(found[0], wanted[:many], atol=1e-6)
    (found,) = runner.run(np.zeros((1, 4, 2), np.float32)).values()
    assert found.shape == (1, 0, 6)
