"""Simplification and quantization of ONNX graphs, on graphs made by hand."""

import numpy as np
import pytest

pytest.importorskip('onnx', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')
pytest.importorskip('onnxslim', reason='deployment is not installed')

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from mnv2_mm.deploy.graph import (
    name_nodes,
    quantizable_nodes,
    set_output_sizes,
    simplify,
)
from mnv2_mm.deploy.quantize import quantize
from mnv2_mm.utils.errors import InputError


def make(nodes, tensors=(), *, shape=(1, 2, 6, 6), output=('n', 'c', 'h', 'w')):
    tensors = [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in dict(tensors).items()
    ]
    graph = helper.make_graph(
        nodes,
        'graph',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, output)],
        tensors,
    )
    opset = [helper.make_opsetid('', 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    return model


def run(model, x):
    session = ort.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    return session.run(None, {'x': x})[0]


def kinds(model):
    return [node.op_type for node in model.graph.node]


def pad_and_conv(pads, *, mode='constant', value=0.0, own=(0, 0, 0, 0)):
    rng = np.random.default_rng(1)
    return make(
        [
            helper.make_node('Pad', ['x', 'pads', 'value'], ['p'], mode=mode),
            helper.make_node('Conv', ['p', 'w'], ['y'], strides=[2, 2], pads=own),
        ],
        {
            'pads': np.array(pads, np.int64),
            'value': np.float32(value),
            'w': rng.normal(size=(3, 2, 3, 3)).astype(np.float32),
        },
    )


X = np.random.default_rng(0).normal(size=(1, 2, 6, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ('pads', 'own'),
    [
        # TensorFlow's SAME of an even input at stride 2: right and below
        ([0, 0, 0, 0, 0, 0, 1, 1], (0, 0, 0, 0)),
        ([0, 0, 1, 0, 0, 0, 0, 2], (1, 1, 0, 0)),
    ],
)
def test_padding_goes_into_the_convolution(pads, own):
    model = pad_and_conv(pads, own=own)
    wanted = run(model, X)
    simple = simplify(model)
    assert kinds(simple) == ['Conv']
    (found,) = (a for a in simple.graph.node[0].attribute if a.name == 'pads')
    top, left, bottom, right = own
    assert list(found.ints) == [
        top + pads[2],
        left + pads[3],
        bottom + pads[6],
        right + pads[7],
    ]
    assert len(simple.graph.initializer) == 1
    np.testing.assert_allclose(run(simple, X), wanted, atol=1e-6)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(pads=[0, 0, 0, 0, 0, 0, 1, 1], value=0.5),
        dict(pads=[0, 0, 1, 1, 0, 0, 1, 1], mode='reflect'),
        dict(pads=[0, 0, -1, 0, 0, 0, 1, 1]),
    ],
    ids=['of another value', 'reflected', 'cropping'],
)
def test_other_padding_stays(arguments):
    model = pad_and_conv(**arguments)
    wanted = run(model, X)
    simple = simplify(model)
    assert kinds(simple) == ['Pad', 'Conv']
    np.testing.assert_allclose(run(simple, X), wanted, atol=1e-6)


def test_padding_that_another_node_reads_stays():
    model = pad_and_conv([0, 0, 0, 0, 0, 0, 1, 1])
    model.graph.node.append(helper.make_node('Relu', ['p'], ['r']))
    model.graph.output.append(
        helper.make_tensor_value_info('r', TensorProto.FLOAT, 'nchw')
    )
    wanted = run(model, X)
    simple = simplify(model)
    assert sorted(kinds(simple)) == ['Conv', 'Pad', 'Relu']
    np.testing.assert_allclose(run(simple, X), wanted, atol=1e-6)


def sizes_of(shape):
    """x reshaped to (x.shape[0], -1, 2), as the exporter writes it."""
    return make(
        [
            helper.make_node('Shape', ['x'], ['s']),
            helper.make_node('Gather', ['s', 'zero'], ['batch']),
            helper.make_node('Unsqueeze', ['batch', 'axis'], ['b']),
            helper.make_node('Concat', ['b', 'rest'], ['to'], axis=0),
            helper.make_node('Reshape', ['x', 'to'], ['y']),
        ],
        {
            'zero': np.array(0, np.int64),
            'axis': np.array([0], np.int64),
            'rest': np.array([-1, 2], np.int64),
        },
        shape=shape,
        output=('n', 'k', 2),
    )


def test_known_sizes_become_numbers():
    model = sizes_of((1, 2, 6, 6))
    wanted = run(model, X)
    simple = simplify(model)
    assert kinds(simple) == ['Reshape']
    np.testing.assert_array_equal(run(simple, X), wanted)


def test_a_dynamic_axis_stays_dynamic():
    model = sizes_of(('batch', 2, 6, 6))
    two = np.concatenate([X, X * 2])
    wanted = run(model, two)
    simple = simplify(model, {'x': {0: 'b'}, 'y': {0: 'b'}})
    np.testing.assert_array_equal(run(simple, two), wanted)
    dims = simple.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ['b', 36, 2]


def test_sizes_of_outputs_are_set():
    model = sizes_of(('batch', 2, 6, 6))
    set_output_sizes(model, {'y': {0: 'batch'}})
    dims = model.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ['batch', 36, 2]


def test_empty_inputs_at_the_end_are_removed():
    model = make(
        [
            helper.make_node('Clip', ['x', 'lo', ''], ['a']),
            helper.make_node('Clip', ['a', '', 'hi'], ['y']),
        ],
        {'lo': np.float32(-1), 'hi': np.float32(1)},
        output=(1, 2, 6, 6),
    )
    wanted = run(model, X)
    simple = simplify(model)
    first, second = (list(node.input) for node in simple.graph.node)
    assert len(first) == 2
    assert len(second) == 3 and second[1] == ''
    np.testing.assert_array_equal(run(simple, X), wanted)


def test_every_node_has_a_name_of_its_own():
    model = sizes_of((1, 2, 6, 6))
    for node in model.graph.node:
        node.name = 'same'
    name_nodes(model)
    names = [node.name for node in model.graph.node]
    assert names == ['same', 'same_2', 'same_3', 'same_4', 'same_5']


def two_convolutions():
    rng = np.random.default_rng(2)
    first = rng.normal(size=(4, 2, 3, 3)).astype(np.float32)
    second = rng.normal(size=(2, 4, 1, 1)).astype(np.float32)
    return make(
        [
            helper.make_node('Conv', ['x', 'a'], ['c'], name='one'),
            helper.make_node('Clip', ['c', 'lo', 'hi'], ['d'], name='act'),
            helper.make_node('Conv', ['d', 'b'], ['e'], name='two'),
            helper.make_node('Exp', ['e'], ['f'], name='exp'),
            helper.make_node('Clip', ['f', 'lo', 'hi'], ['y'], name='end'),
        ],
        {'a': first, 'b': second * 0.1, 'lo': np.float32(0), 'hi': np.float32(6)},
        output=(1, 2, 4, 4),
    )


def test_what_follows_the_convolutions_stays_in_float():
    model = two_convolutions()
    assert quantizable_nodes(model) == ['one', 'act', 'two']
    assert quantizable_nodes(model, ['tw*']) == ['one', 'act']


def test_a_pattern_that_names_nothing():
    with pytest.raises(InputError, match=r"'head/\*', which names no node"):
        quantizable_nodes(two_convolutions(), ['head/*'])


@pytest.mark.parametrize('symmetric', [False, True])
def test_eight_bits_are_near(symmetric):
    model = two_convolutions()
    wanted = run(model, X)
    found = quantize(two_convolutions(), [X, X * 0.5], symmetric=symmetric)
    assert 'QuantizeLinear' in kinds(found)
    # a range of 6 in 255 steps, through weights of 0.1: some per cent
    np.testing.assert_allclose(run(found, X), wanted, rtol=0.12, atol=0.02)
    assert np.abs(run(found, X) - wanted).max() > 1e-4


def test_tensorrt_gets_int8_around_zero():
    found = quantize(two_convolutions(), [X], symmetric=True)
    tensors = {t.name: t for t in found.graph.initializer}
    for node in found.graph.node:
        if node.op_type == 'QuantizeLinear':
            zero = numpy_helper.to_array(tensors[node.input[2]])
            assert zero.dtype == np.int8
            assert not zero.any()


def test_two_products_fit_into_sixteen_bits():
    """As x86 processors without VNNI add them: uint8 times int8, twice."""
    found = quantize(two_convolutions(), [X])
    arrays = [numpy_helper.to_array(t) for t in found.graph.initializer]
    weights = [array for array in arrays if array.dtype == np.int8 and array.ndim == 4]
    assert len(weights) == 2
    for array in weights:
        assert 60 < np.abs(array.astype(int)).max() <= 64


def test_nothing_to_calibrate_with():
    with pytest.raises(InputError, match='needs images'):
        quantize(two_convolutions(), [])


def test_same_padding_as_torch_exports_it_is_folded_right(tmp_path):
    """onnxslim's own shape inference pads on the other side."""
    torch = pytest.importorskip('torch')
    from mnv2_mm.models.same_conv import SameConv2d

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        SameConv2d(3, 4, 3, stride=2), SameConv2d(4, 4, 3, stride=2)
    )
    x = torch.rand(1, 3, 8, 8)
    path = tmp_path / 'same.onnx'
    torch.onnx.export(
        net, x, str(path), dynamo=False, opset_version=13,
        input_names=['x'], output_names=['y'],
    )  # fmt: skip
    model = simplify(onnx.load(path))
    assert 'Pad' not in kinds(model)
    with torch.no_grad():
        np.testing.assert_allclose(run(model, x.numpy()), net(x), atol=1e-6)
