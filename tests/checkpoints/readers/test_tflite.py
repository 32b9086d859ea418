"""Reading TFLite files: values worked by hand, and damaged files."""

import numpy as np
import pytest

pytest.importorskip('tflite')
pytest.importorskip('flatbuffers')
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_writer import Entry, write

from mnv2_mm.checkpoints.readers.tflite import is_tflite, read_tflite
from mnv2_mm.utils.errors import InputError

SCOPE = 'MobilenetV2/expanded_conv/depthwise'
IMAGE = Entry('input', shape=(1, 8, 6, 3))


def one_layer(path, weight, bias=None, *, kind='CONV_2D', image=IMAGE):
    tensors = [image, weight]
    inputs = [0, 1]
    if bias is not None:
        tensors.append(bias)
        inputs.append(2)
    tensors.append(Entry('output', shape=(1, 4, 3, 2)))
    return write(path, tensors, [(kind, inputs, [len(tensors) - 1])])


def test_one_scale_a_tensor(tmp_path):
    """(q - zero point) * scale, and (out, H, W, in) -> (H, W, in, out)."""
    weight = np.array([[[[1, 3, 5]]], [[[0, 3, 255]]]], np.uint8)
    bias = np.array([-4, 100], np.int32)
    path = one_layer(
        tmp_path / 'a.tflite',
        Entry('Conv/weights', weight, scale=(0.5,), zero=(3,)),
        Entry('Conv/bias', bias, scale=(0.25,), zero=(0,)),
        image=Entry(
            'input', shape=(1, 8, 6, 3), kind='uint8', scale=(1 / 64,), zero=(96,)
        ),
    )
    source = read_tflite(path)
    assert source.tensors['Conv/weights'].shape == (1, 1, 3, 2)
    assert source.tensors['Conv/weights'][0, 0].tolist() == [
        [-1.0, -1.5],
        [0.0, 0.0],
        [1.0, 126.0],
    ]
    assert source.tensors['Conv/biases'].tolist() == [-1.0, 25.0]
    assert source.format == 'TFLite, 8 bits'
    assert source.preprocessing.mean == (96.0,) * 3
    assert source.preprocessing.std == (64.0,) * 3
    assert len(source.sha256) == 64


def test_one_scale_a_channel(tmp_path):
    """Depthwise filters are (1, H, W, C), with a scale for each C."""
    weight = np.array([[[[2, 2]], [[-4, 6]]]], np.int8)  # (1, 2, 1, 2)
    path = one_layer(
        tmp_path / 'a.tflite',
        Entry(
            f'{SCOPE}/depthwise_weights', weight, scale=(1.0, 0.5), zero=(0, 0), axis=3
        ),
        kind='DEPTHWISE_CONV_2D',
    )
    (name,), (value,) = zip(*read_tflite(path).tensors.items(), strict=True)
    assert name == f'{SCOPE}/depthwise_weights'
    assert value.shape == (2, 1, 2, 1)
    assert value.flatten().tolist() == [2.0, 1.0, -4.0, 3.0]


@pytest.mark.parametrize('kind', ['float32', 'float16'])
def test_floats(tmp_path, kind):
    """float16 filters pass a DEQUANTIZE operator first."""
    weight = np.arange(6, dtype=kind).reshape(2, 1, 1, 3)
    tensors = [
        IMAGE,
        Entry('Conv/weights', weight),
        Entry('wide', shape=weight.shape),
        Entry('output', shape=(1, 8, 6, 2)),
    ]
    operators = [('CONV_2D', [0, 1, -1], [3])]
    if kind == 'float16':
        operators = [('DEQUANTIZE', [1], [2]), ('CONV_2D', [0, 2, -1], [3])]
    source = read_tflite(write(tmp_path / 'a.tflite', tensors, operators))
    assert source.tensors['Conv/weights'].flatten().tolist() == [
        0.0, 3.0, 1.0, 4.0, 2.0, 5.0,
    ]  # fmt: skip
    assert source.format == f'TFLite, {kind}'
    assert source.preprocessing is None


@pytest.mark.parametrize(
    'name, scope',
    [
        ('A/B/weights', 'A/B'),
        ('A/B/weights/read', 'A/B'),
        ('A/B/weights_quant/FakeQuantWithMinMaxVars', 'A/B'),
        ('A/B/Conv2D_Fold;A/B/weights_quant/FakeQuantWithMinMaxVars', 'A/B'),
        ('X/project/Conv2D_Fold;A/weights_quant/FakeQuant', 'A'),
        ('A/depthwise/depthwise', 'A/depthwise'),
        ('A/Conv2D1', 'A'),
        ('A/Conv2D/ReadVariableOp', 'A'),
        # of converters of TensorFlow 2
        ('A/BatchNorm/FusedBatchNormV3;A/depthwise;B/project/Conv2D', 'A'),
        ('A/batch_norm/FusedBatchNormV3;B/depthwise;A/depthwise', 'A'),
        ('B/Conv2D;A/MatMul;A/Conv2d_1c_1x1/Conv2D', 'A'),
        ('block_1_expand/kernel', 'block_1_expand/kernel'),
    ],
)
def test_scopes(tmp_path, name, scope):
    """A filter is named by the scope of its layer, whatever was fused."""
    weight = Entry(name, np.ones((2, 1, 1, 3), np.float32))
    source = read_tflite(one_layer(tmp_path / 'a.tflite', weight))
    assert list(source.tensors) == [f'{scope}/weights']


def test_a_fully_connected_layer_is_a_1x1_convolution(tmp_path):
    weight = Entry('Logits/MatMul', np.arange(6, dtype=np.float32).reshape(2, 3))
    bias = Entry('Logits/biases', np.float32([7, 8]))
    path = one_layer(tmp_path / 'a.tflite', weight, bias, kind='FULLY_CONNECTED')
    tensors = read_tflite(path).tensors
    assert tensors['Logits/weights'].shape == (1, 1, 3, 2)
    assert tensors['Logits/weights'][0, 0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert tensors['Logits/biases'].tolist() == [7, 8]
    # of two computed maps
    tensors = [
        IMAGE,
        Entry('map', shape=(2, 3)),
        Entry('w', np.ones((2, 1, 1, 3), 'f')),
    ]
    operators = [('FULLY_CONNECTED', [0, 1], [1]), ('CONV_2D', [0, 2], [1])]
    found = read_tflite(write(tmp_path / 'b.tflite', tensors, operators)).tensors
    assert list(found) == ['w/weights']


def test_what_is_no_weight_is_set_aside(tmp_path):
    """Shapes, and anchors; a constant of arithmetic stays in sight."""
    anchors = np.array([[0, 64, 128, 255]], np.uint8)
    tensors = [
        IMAGE,
        Entry('Conv/weights', np.ones((2, 1, 1, 3), np.float32)),
        Entry('map', shape=(1, 8, 6, 2)),
        Entry('shape', np.array([1, 96], np.int32)),
        Entry('factor', np.array([2.0], np.float32)),
        Entry('anchors', anchors, scale=(1 / 128,), zero=(0,)),
    ]
    operators = [
        ('CONV_2D', [0, 1], [2]),
        ('RESHAPE', [2, 3], [2]),
        ('MUL', [2, 4], [2]),
        (b'TFLite_Detection_PostProcess', [2, 2, 5], [2]),
    ]
    source = read_tflite(write(tmp_path / 'a.tflite', tensors, operators))
    assert set(source.tensors) == {'Conv/weights', 'factor'}
    assert set(source.set_aside) == {'shape', 'anchors'}
    assert source.anchors.step == 1 / 128
    assert source.anchors.boxes[0, 1] == 0.5


@pytest.mark.parametrize(
    'weight, said',
    [
        (Entry('w', np.ones((2, 1, 1, 3), np.int8)), 'without a scale'),
        (
            Entry('w', np.ones((2, 1, 1, 3), np.int16), scale=(1.0,), zero=(0,)),
            'stored as int16',
        ),
        (
            Entry('w', np.ones((2, 1, 1, 3), np.int8), scale=(1.0,) * 3, zero=(0,)),
            '3 scales for axis 0',
        ),
        (Entry('w', shape=(2, 1, 1, 3)), 'computed by the network'),
        (Entry('w', np.ones(3, np.float32)), '1 dimensions'),
    ],
)
def test_unsupported_filters_are_named(tmp_path, weight, said):
    path = one_layer(tmp_path / 'a.tflite', weight)
    with pytest.raises(InputError, match=rf'a\.tflite.*w.*{said}'):
        read_tflite(path)


def test_tensors_that_share_their_values_are_bounded(tmp_path):
    """A few bytes could claim any memory."""
    values = np.ones((512, 1, 1, 512), np.int8)
    for count, fits in ((3, True), (9, False)):
        names = [f'layer{number}/weights' for number in range(count)]
        tensors = [Entry(name, values, scale=(1.0,), zero=(0,)) for name in names]
        layers = [('CONV_2D', [0, 1 + number], [0]) for number in range(count)]
        path = write(tmp_path / 'a.tflite', [IMAGE, *tensors], layers)
        if fits:
            assert len(read_tflite(path).tensors) == count
        else:
            with pytest.raises(InputError, match='room for'):
                read_tflite(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / 'a.tflite'
    path.write_bytes(b'<html>Not found</html>')
    assert not is_tflite(path)
    with pytest.raises(InputError, match='no TFLite file'):
        read_tflite(path)
    weight = Entry('w', np.ones((2, 1, 1, 3), np.float32))
    two = write(
        path,
        [IMAGE, weight, Entry('o', shape=(1,))],
        [('CONV_2D', [0, 1], [2])],
        subgraphs=2,
    )
    with pytest.raises(InputError, match='2 subgraphs'):
        read_tflite(two)
    twice = write(
        path, [IMAGE, weight, Entry('o', shape=(1,))], [('CONV_2D', [0, 1], [2])] * 2
    )
    with pytest.raises(InputError, match='two layers'):
        read_tflite(twice)


@pytest.fixture(scope='module')
def small_file(tmp_path_factory):
    weight = Entry(
        'Conv/weights',
        np.arange(54, dtype=np.int8).reshape(2, 3, 3, 3),
        scale=(0.5, 0.25),
        zero=(0, 1),
    )
    bias = Entry('b', np.array([1, 2], np.int32), scale=(1.0,), zero=(0,))
    return one_layer(tmp_path_factory.mktemp('f') / 'a.tflite', weight, bias)


@settings(
    max_examples=300,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_files(small_file, tmp_path, data):
    """Changed and cut-off bytes: read, or refused in one message."""
    content = bytearray(small_file.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        index = data.draw(st.integers(8, len(content) - 1))
        content[index] = data.draw(st.integers(0, 255))
    length = data.draw(st.one_of(st.just(len(content)), st.integers(8, len(content))))
    path = tmp_path / 'damaged.tflite'
    path.write_bytes(content[:length])
    try:
        source = read_tflite(path)
    except InputError as error:
        assert 'damaged.tflite' in str(error)
    else:
        assert sum(t.numel() for t in source.tensors.values()) < 1000
