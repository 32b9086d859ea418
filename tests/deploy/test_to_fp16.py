"""float16 in ONNX graphs, on graphs made by hand."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip('onnx', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import GraphBuilder, conv, linear, number

from mnv2_mm.deploy.graph import name_nodes, quantizable_nodes
from mnv2_mm.deploy.to_fp16 import to_fp16
from mnv2_mm.utils.errors import InputError


def run(model, x):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    return session.run(None, {'x': x})


def finished(b, *outputs):
    model = b.model(*outputs)
    for output in model.graph.output:
        output.type.tensor_type.elem_type = TensorProto.FLOAT
        output.type.tensor_type.shape.Clear()
        for axis in 'nchw':
            output.type.tensor_type.shape.dim.add().dim_param = axis
    name_nodes(model)
    return model


def types_of(model):
    """Type of each tensor, by its name."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {v.name: v.type.tensor_type.elem_type for v in values}
    return found | {t.name: t.data_type for t in graph.initializer}


def nodes(model, kind):
    return [n for n in model.graph.node if n.op_type == kind]


def two_convolutions():
    """Conv, Clip, a residual, Conv, then Exp; the first output is inner."""
    b = GraphBuilder(1, 3, 8, 8)
    first = conv(b, 'x', 3, 4)
    inner = b.add('Clip', first, number(b, 0), number(b, 6))
    second = conv(b, inner, 4, 4, pads=[1, 1, 1, 1])
    total = b.add('Add', inner, second)
    third = conv(b, total, 4, 2)
    return b, finished(b, inner, b.add('Exp', third))


def test_the_network_is_float16_and_the_rest_is_not():
    b, model = two_convolutions()
    x = b.image(0.3)
    wanted = run(model, x)
    # an exported graph states its inner types
    model = onnx.shape_inference.infer_shapes(model)
    before = [output.name for output in model.graph.output]
    converted = to_fp16(model)
    kinds = types_of(converted)
    for name in ('Conv', 'Clip', 'Add'):
        for node in nodes(converted, name):
            assert {kinds[t] for t in (*node.input, *node.output)} == {10}
    (exp,) = nodes(converted, 'Exp')
    assert {kinds[t] for t in (*exp.input, *exp.output)} == {1}
    assert [kinds[v.name] for v in converted.graph.input] == [1]
    assert [kinds[v.name] for v in converted.graph.output] == [1, 1]
    assert [output.name for output in converted.graph.output] == before
    made = {name for node in converted.graph.node for name in node.output}
    assert {value.name for value in converted.graph.value_info} <= made
    for one, other in zip(run(converted, x), wanted, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0.02, atol=0.01)
        assert np.abs(one - other).max() > 0


def test_each_border_has_one_cast():
    _, model = two_convolutions()
    converted = to_fp16(model)
    casts = nodes(converted, 'Cast')
    # in: x; out: the inner output, which three read, and what Exp reads
    assert len(casts) == 3
    names = Counter(n.name for n in converted.graph.node)
    assert set(names.values()) == {1}
    made = Counter(name for n in converted.graph.node for name in n.output)
    assert set(made.values()) == {1}
    assert not {t.data_type for t in converted.graph.initializer} - {10}


def test_parts_stay_in_float32_by_their_names():
    b, model = two_convolutions()
    name = nodes(model, 'Conv')[1].name
    x = b.image(0.3)
    wanted = run(model, x)
    converted = to_fp16(model, keep_float=[name])
    kinds = types_of(converted)
    found = {n.name: kinds[n.input[1]] for n in nodes(converted, 'Conv')}
    assert found.pop(name) == 1
    assert set(found.values()) == {10}
    np.testing.assert_allclose(run(converted, x)[0], wanted[0], atol=0.01)
    with pytest.raises(InputError, match=r"'head/\*', which names no node"):
        to_fp16(two_convolutions()[1], keep_float=['head/*'])


def test_weights_of_both_kinds_exist_twice():
    b = GraphBuilder(1, 3, 8, 8)
    weight = b.weight(3, 3, 1, 1)
    first = b.add('Conv', 'x', weight)
    scaled = b.add('Mul', first, weight)
    model = finished(b, scaled)
    converted = to_fp16(model)
    kinds = Counter(t.data_type for t in converted.graph.initializer)
    assert kinds == {1: 1, 10: 1}
    x = b.image()
    np.testing.assert_allclose(
        run(converted, x)[0], run(finished(b, scaled), x)[0], atol=0.05
    )


def test_a_resize_keeps_its_scales():
    b = GraphBuilder(1, 3, 8, 8)
    small = b.add('GlobalAveragePool', conv(b, 'x', 3, 4))
    large = linear(b, small, 'half_pixel', 1, 4, 6, 6)
    model = finished(b, conv(b, large, 4, 2, k=(1, 1)))
    converted = to_fp16(model)
    (node,) = nodes(converted, 'Resize')
    kinds = types_of(converted)
    assert kinds[node.input[0]] == kinds[node.output[0]] == 10
    assert kinds[node.input[2]] == 1


def test_sizes_that_are_computed_stay_numbers():
    b = GraphBuilder(1, 3, 8, 8)
    x = conv(b, 'x', 3, 4)
    shape = b.add('Shape', x)
    x = b.add('Reshape', x, shape)
    converted = to_fp16(finished(b, conv(b, x, 4, 2)))
    kinds = types_of(converted)
    (node,) = nodes(converted, 'Reshape')
    assert [kinds[name] for name in node.input] == [10, 7]


def test_weights_beyond_float16():
    _, model = two_convolutions()
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor) * np.float32(1e6)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(InputError, match='which float16 does not hold'):
        to_fp16(model)


def test_what_leads_to_a_convolution_is_the_network():
    _, model = two_convolutions()
    found = quantizable_nodes(model)
    rest = [n.op_type for n in model.graph.node if n.name not in found]
    assert rest == ['Exp']
    assert len(quantizable_nodes(model, ['*Conv*'])) == 2


def test_a_number_of_the_network_is_no_tensor():
    """Integers pass through a chosen node unchanged."""
    nodes_ = [
        helper.make_node('Cast', ['x'], ['i'], name='cast', to=6),
        helper.make_node('Add', ['i', 'one'], ['j'], name='add'),
        helper.make_node('Cast', ['j'], ['f'], name='back', to=1),
        helper.make_node('Conv', ['f', 'w'], ['y'], name='conv'),
    ]
    graph = helper.make_graph(
        nodes_,
        'graph',
        [helper.make_tensor_value_info('x', 1, (1, 2, 4, 4))],
        [helper.make_tensor_value_info('y', 1, (1, 2, 4, 4))],
        [
            numpy_helper.from_array(np.array(1, np.int32), 'one'),
            numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), 'w'),
        ],
    )
    opset = [helper.make_opsetid('', 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    (wanted,) = run(model, x)
    converted = to_fp16(model)
    np.testing.assert_array_equal(run(converted, x)[0], wanted)
    assert types_of(converted)['j'] == 6
