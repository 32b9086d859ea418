"""Small graphs as TFLite: the same numbers, float16 and int8, refusals."""

import sys

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('ai_edge_litert')
pytest.importorskip('mmdeploy', reason='deployment is not installed')

from onnx_graphs import GraphBuilder

from mnv2_mm.deploy.graph import simplify
from mnv2_mm.deploy.litert import convert
from mnv2_mm.runtime.litert import LiteRT
from mnv2_mm.utils import compat
from mnv2_mm.utils.errors import InputError

needs_converter = pytest.mark.skipif(
    compat.version_of('onnx2tf') is None, reason='onnx2tf is not installed'
)


def network():
    """(1, 3, 16, 16) -> (1, 6, 8, 8): a block of MobileNetV2, and a last layer."""
    b = GraphBuilder(1, 3, 16, 16)
    low, high = b.constant(0.0, np.float32), b.constant(6.0, np.float32)
    pads = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = b.add('Conv', 'x', b.weight(8, 3, 3, 3), scope='/stem', strides=[2, 2], **pads)
    first = x = b.add('Clip', x, low, high, scope='/stem')
    x = b.add('Conv', x, b.weight(8, 1, 3, 3), scope='/block', group=8, **pads)
    x = b.add('Clip', x, low, high, scope='/block')
    x = b.add('Conv', x, b.weight(8, 8, 1, 1), scope='/block', kernel_shape=[1, 1])
    x = b.add('Add', first, x, scope='/block')
    x = b.add('Conv', x, b.weight(6, 8, 1, 1), scope='/last', kernel_shape=[1, 1])
    b.add('Sigmoid', x, scope='/end')
    return b.model()


@pytest.fixture(scope='module')
def images():
    random = np.random.default_rng(1)
    return [random.normal(0, 1, (1, 3, 16, 16)).astype(np.float32) for _ in range(8)]


@pytest.fixture(scope='module')
def made():
    """The graph in ONNX, and converted."""
    model = simplify(network())
    return model.SerializeToString(), convert.to_tflite(model)


@pytest.fixture(scope='module')
def wanted(made, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(made[0])
    return [session.run(None, {'x': image})[0] for image in images]


def run(data, folder, images):
    file = folder / 'a.tflite'
    file.write_bytes(data)
    model = LiteRT([file], threads=1)
    return model, [next(iter(model(image).values())) for image in images]


@needs_converter
@pytest.mark.parametrize(
    ('precision', 'low', 'high'),
    [('fp32', 0, 1e-6), ('fp16', 1e-6, 1e-3), ('int8', 1e-3, 0.01)],
)
def test_the_network_computes_the_same(
    made, wanted, images, tmp_path, precision, low, high
):
    """(B, C, H, W) outside; the mean difference is that of the precision."""
    data = made[1]
    if precision == 'fp16':
        data = convert.to_fp16(data)
    elif precision == 'int8':
        data = convert.to_int8(data, images)
    _, found = run(data, tmp_path, images)
    gap = np.mean([np.abs(x - y).mean() for x, y in zip(found, wanted, strict=True)])
    assert low <= gap < high


def dtypes(model):
    """Of the weights and the outputs of each operator that has weights."""
    tensors = {x['index']: x for x in model.interpreter.get_tensor_details()}
    found = []
    for op in model.interpreter._get_ops_details():
        if op['op_name'].endswith('CONV_2D'):
            weights, output = tensors[op['inputs'][1]], tensors[op['outputs'][0]]
            scales = len(weights['quantization_parameters']['scales'])
            found.append((weights['dtype'], output['dtype'], scales))
    return found


@needs_converter
def test_int8_has_a_scale_per_channel_and_float_ends(made, images, tmp_path):
    """Softmax, sigmoid and what follows stay in float32, and so does the input."""
    model, _ = run(convert.to_int8(made[1], images), tmp_path, ())
    assert sorted(dtypes(model), key=str) == [
        (np.int8, np.int8, n) for n in (6, 8, 8, 8)
    ]
    tensors = {x['index']: x for x in model.interpreter.get_tensor_details()}
    ops = model.interpreter._get_ops_details()
    (last,) = [op for op in ops if op['op_name'] == 'LOGISTIC']
    assert tensors[last['inputs'][0]]['dtype'] == np.float32
    assert model.interpreter.get_input_details()[0]['dtype'] == np.float32
    with pytest.raises(InputError, match='images to calibrate'):
        convert.to_int8(made[1], [])


@needs_converter
@needs_converter
@pytest.mark.parametrize('group', [1, 8])
def test_int8_keeps_channels_that_are_a_bias_alone(group, images, tmp_path):
    b = GraphBuilder(1, 3, 16, 16)
    low, high = b.constant(0.0, np.float32), b.constant(6.0, np.float32)
    x = b.add('Conv', 'x', b.weight(8, 3, 1, 1), scope='/stem', kernel_shape=[1, 1])
    x = b.add('Clip', x, low, high, scope='/stem')
    kernel = np.random.default_rng(0).normal(0, 1, (8, 8 // group, 1, 1))
    kernel[1], kernel[2] = 0, kernel[2] * 1e-12
    kernel = b.constant(kernel.astype(np.float32), np.float32)
    bias = b.constant(np.linspace(1, 5, 8, dtype=np.float32), np.float32)
    more = dict(scope='/dead', kernel_shape=[1, 1], group=group)
    x = b.add('Clip', b.add('Conv', x, kernel, bias, **more), low, high, scope='/dead')
    x = b.add('Conv', x, b.weight(6, 8, 1, 1), scope='/last', kernel_shape=[1, 1])
    b.add('Sigmoid', x, scope='/end')
    data = convert.to_tflite(simplify(b.model()))
    _, wanted = run(data, tmp_path, images)
    _, found = run(convert.to_int8(data, images), tmp_path, images)
    assert max(np.abs(x - y).max() for x, y in zip(found, wanted, strict=True)) < 0.05


@needs_converter
def test_an_operator_that_is_not_converted_is_named():
    b = GraphBuilder(1, 3, 4, 4)
    b.add('Det', 'x')
    with pytest.raises(InputError, match=r'(?i)det'):
        convert.to_tflite(b.model())


@pytest.mark.parametrize('name', ['onnx2tf', 'ai-edge-quantizer'])
def test_a_missing_package_is_named_with_its_command(monkeypatch, name):
    """onnx2tf without its dependencies, which would replace numpy and onnx."""
    monkeypatch.setattr(compat, 'version_of', lambda x: None if x == name else '1')
    with pytest.raises(InputError, match=f'pip install .*{name}') as caught:
        convert.require()
    assert ('--no-deps' in str(caught.value)) == (name == 'onnx2tf')


@needs_converter
def test_a_damaged_file_is_refused(made, tmp_path):
    file = tmp_path / 'a.tflite'
    file.write_bytes(made[1][: len(made[1]) // 3])
    with pytest.raises(InputError, match=r'a\.tflite'):
        LiteRT([file])


def test_the_runtime_names_its_missing_package(monkeypatch):
    """ExportedModel turns the name into a pip command."""
    monkeypatch.setitem(sys.modules, 'ai_edge_litert.interpreter', None)
    with pytest.raises(ImportError) as caught:
        LiteRT(['a.tflite'])
    assert caught.value.name == 'ai-edge-litert'
