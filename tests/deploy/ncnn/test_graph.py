"""What the ncnn writer refuses, and how it reads names and shapes."""

import os

import numpy as np
import pytest

pytest.importorskip('onnx')
import torch
from ncnn_export import export
from onnx_graphs import GraphBuilder, reshape
from torch import nn

from mnv2_mm.deploy.ncnn.graph import Graph
from mnv2_mm.deploy.ncnn.rules import lower
from mnv2_mm.deploy.ncnn.write import write
from mnv2_mm.utils.errors import InputError


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.ReLU6())
        )
        self.taps = nn.ModuleList([nn.Conv2d(4, 2, 1)])

    def forward(self, x):
        return self.taps[0](self.parts(x)).cumsum(2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), Branch()

    def forward(self, x):
        return self.second(self.first(x))


@pytest.fixture(scope='module')
def torch_graph():
    return export(Net().eval(), torch.zeros(1, 3, 8, 8), 'x', 'y')


def test_modules_of_nodes(torch_graph):
    """As in named_modules: a member does not repeat its owner."""
    modules = [node.module for node in Graph(torch_graph).nodes]
    assert modules == [
        'first',
        'second.parts.0',
        'second.parts.1.0',
        'second.taps.0',
        'second',
    ]


def test_an_unsupported_operator_is_named_with_its_place(torch_graph, tmp_path):
    with pytest.raises(
        InputError,
        match=r'operator CumSum \(node /second/CumSum of the '
        r'module second\); replace it',
    ):
        write(torch_graph, tmp_path / 'a.param', tmp_path / 'a.bin')
    assert os.listdir(tmp_path) == []


def graph_of(add, *shape, domain=''):
    builder = GraphBuilder(1, *shape)
    add(builder)
    return builder.model()


def ints(b, *values):
    return b.constant(values, np.int64)


#: what a message says of it: (shape, what is added)
REFUSED = {
    r'operator Mod \(node /Mod_0\)': (
        (3, 4),
        lambda b: b.add('Mod', 'x', b.weight(1), fmod=1),
    ),
    'Conv of 1 dimensions': ((3, 4), lambda b: b.add('Conv', 'x', b.weight(3, 3, 1))),
    'Conv whose input 1 is computed': (
        (3, 4, 4),
        lambda b: b.add('Conv', 'x', b.add('Reshape', 'x', ints(b, 1, 3, 4, 4))),
    ),
    'Conv with auto_pad=SAME_UPPER': (
        (3, 4, 4),
        lambda b: b.add('Conv', 'x', b.weight(3, 3, 3, 3), auto_pad='SAME_UPPER'),
    ),
    'MaxPool with ceil_mode': (
        (3, 4, 4),
        lambda b: b.add('MaxPool', 'x', kernel_shape=[2, 2], ceil_mode=1),
    ),
    'Pad of other axes': (
        (3, 4, 4),
        lambda b: b.add('Pad', 'x', ints(b, 0, 1, 0, 0, 0, 0, 0, 0)),
    ),
    'Pad with other values': (
        (3, 4, 4),
        lambda b: b.add('Pad', 'x', ints(b, 0, 0, 1, 0, 0, 0, 0, 0), mode='reflect'),
    ),
    'Pad with negative amounts': (
        (3, 4, 4),
        lambda b: b.add('Pad', 'x', ints(b, 0, 0, -1, 0, 0, 0, 0, 0)),
    ),
    'Softmax over the batch': ((3, 4), lambda b: b.add('Softmax', 'x', axis=0)),
    'Transpose that moves the batch': (
        (3, 4),
        lambda b: b.add('Transpose', 'x', perm=[1, 0, 2]),
    ),
    'Slice with a step': (
        (3, 4),
        lambda b: b.add('Slice', 'x', ints(b, 0), ints(b, 4), ints(b, 2), ints(b, 2)),
    ),
    'Gemm with transA, alpha or beta': (
        (3,),
        lambda b: b.add('Gemm', 'x', b.weight(3, 2), alpha=0.5),
    ),
    'Resize cubic with half_pixel': (
        (3, 4, 4),
        lambda b: b.add('Resize', 'x', '', '', ints(b, 1, 3, 8, 8), mode='cubic'),
    ),
    'Resize from or to one row': (
        (3, 1, 4),
        lambda b: b.add('Resize', 'x', '', '', ints(b, 1, 3, 8, 8), mode='linear'),
    ),
    'Add of operands with unlike dimensions': (
        (3, 4),
        lambda b: b.add('Add', 'x', b.add('Reshape', 'x', ints(b, 1, 3, 1, 4))),
    ),
    'ReduceMean over all axes': ((3, 4), lambda b: b.add('ReduceMean', 'x')),
    r'has the shape \(4, 3\)': (
        (3, 4),
        lambda b: b.add('Relu', b.add('Reshape', 'x', ints(b, 4, 3))),
    ),
    r'of one to four dimensions': ((2, 2, 2, 2, 2), lambda b: b.add('Relu', 'x')),
    'not consistent.*/Add_0': ((3, 4), lambda b: b.add('Add', 'x', b.weight(1, 3, 5))),
}


@pytest.mark.parametrize('message', REFUSED)
def test_refused(message, tmp_path):
    shape, add = REFUSED[message]
    model = graph_of(add, *shape)
    with pytest.raises(InputError, match=message):
        write(model, tmp_path / 'a.param', tmp_path / 'a.bin')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        (('batch', 3, 4), r'dynamic shape \(batch, 3, 4\)'),
        ((1, 3, None), r'dynamic shape \(1, 3, \?\)'),
        ((2, 3, 4), r'shape \(2, 3, 4\); ncnn has no batch'),
    ],
)
def test_refused_input(shape, message):
    builder = GraphBuilder(1, 3, 4)
    builder.add('Relu', 'x')
    with pytest.raises(InputError, match=message):
        Graph(builder.model(shape=shape))


def test_shape_arithmetic_is_computed_beforehand():
    """x.reshape(x.shape[0], -1) with the shape as values of the graph."""
    builder = GraphBuilder(1, 3, 4)
    first = builder.add(
        'Gather', builder.add('Shape', 'x'), builder.constant([0], np.int64)
    )
    target = builder.add('Concat', first, ints(builder, -1), axis=0)
    builder.add('Reshape', builder.add('Relu', 'x'), target)
    layers = lower(Graph(builder.model()))
    assert [layer.type for layer in layers] == ['Input', 'ReLU', 'Reshape']
    assert layers[-1].params == {0: 12}


def test_equal_outputs_are_kept():
    """onnxslim 0.1.98 loses the node of an output, or of one that leads to it."""
    builder = GraphBuilder(1, 1, 1, 2)
    start = reshape(builder, 'x', 1, 1, 2)
    first, second = (reshape(builder, start, 1, 1, 2) for _ in range(2))
    third = reshape(builder, first, 1, 1, 2)
    ends = [
        reshape(builder, start, 1, 1, 2),
        reshape(builder, second, 1, 1, 2),
        reshape(builder, third, 1, 1, 2),
        builder.add('Transpose', third, perm=[0, 2, 1]),
    ]
    layers = lower(Graph(builder.model(*ends)))
    made = {name for layer in layers for name in layer.outputs}
    assert made.issuperset(ends)
    assert made.issuperset(name for layer in layers for name in layer.inputs)


def test_activations_and_padding_become_part_of_a_convolution():
    builder = GraphBuilder(1, 3, 5, 6)
    y = builder.add('Pad', 'x', ints(builder, 0, 0, 0, 1, 0, 0, 2, 3))
    y = builder.add('Conv', y, builder.weight(4, 3, 3, 3), pads=[1, 1, 1, 1])
    builder.add(
        'Clip', y, builder.constant(0, np.float32), builder.constant(6, np.float32)
    )
    _, conv = lower(Graph(builder.model()))
    # left, right, top, bottom
    assert [conv.params[key] for key in (4, 15, 14, 16)] == [2, 4, 1, 3]
    assert (conv.params[9], conv.params[10]) == (3, [0.0, 6.0])


@pytest.mark.parametrize(('size', 'wanted'), [((1, 1), (1, 4, 7)), ((3, 3), (2, 4, 7))])
def test_no_bilinear_filter_on_a_single_value(size, wanted):
    """ncnn's reads beyond a map of one row or column: kind, height, width."""
    builder = GraphBuilder(1, 2, *size)
    empty = builder.constant([], np.float32)
    builder.add('Resize', 'x', empty, empty, ints(builder, 1, 2, 4, 7), mode='linear')
    _, layer = lower(Graph(builder.model()))
    assert tuple(layer.params.values()) == wanted


def test_older_operators_are_refused():
    builder = GraphBuilder(1, 3, 4)
    builder.add('Relu', 'x')
    model = builder.model()
    model.opset_import[0].version = 11
    with pytest.raises(InputError, match='export it with opset_version=13'):
        Graph(model)


def test_int8_needs_images(tmp_path):
    builder = GraphBuilder(1, 3, 4)
    builder.add('Relu', 'x')
    with pytest.raises(InputError, match='needs calibration images'):
        write(
            builder.model(), tmp_path / 'a.param', tmp_path / 'a.bin', precision='int8'
        )
