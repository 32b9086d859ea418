"""ncnn's files byte by byte, copies of blobs, float16; worked by hand."""

import struct

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxslim')

from mnv2_mm.deploy.ncnn.layer import Layer, Weight, with_splits
from mnv2_mm.deploy.ncnn.write import number, param_text, save, to_fp16, weight_bytes
from mnv2_mm.utils.errors import InputError


def floats(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (7, '7'),
        (-3, '-3'),
        (np.int64(12), '12'),
        (0.0, '0.00000000e+00'),
        (6, '6'),
        (1e-45, '1.40129846e-45'),
        (-1 / 3, '-3.33333343e-01'),
        (-1.17549435e-38, '-1.17549435e-38'),
        (3.40282347e38, '3.40282347e+38'),
    ],
)
def test_numbers(value, text):
    """A float has a point, 15 characters at most, and its float32 value."""
    assert number(value) == text
    assert len(text) <= 15
    assert np.float32(float(text)) == np.float32(value)


@pytest.mark.parametrize('value', [float('inf'), float('nan'), 1e39])
def test_numbers_beyond_float32(value):
    with pytest.raises(InputError, match='cannot be written'):
        number(value)


@pytest.fixture
def layers():
    conv = Layer(
        'Convolution',
        'conv',
        ['x'],
        ['y'],
        {9: 3, 0: 2, 10: [0.0, 6.0], 6: 2},
        [Weight(floats(1, -2), tagged=True), Weight(floats(0.5, 0))],
    )
    return [Layer('Input', 'x', [], ['x'], {0: 4, 1: 3, 2: 1}), conv]


def test_param_file(layers):
    """The mark, the counts, and parameters in the order of their numbers."""
    lines = param_text(layers).splitlines()
    assert lines[:2] == ['7767517', '2 2']
    assert ' '.join(lines[2].split()) == 'Input x 0 1 x 0=4 1=3 2=1'
    assert ' '.join(lines[3].split()) == (
        'Convolution conv 1 1 x y 0=2 6=2 9=3 -23310=2,0.00000000e+00,6.00000000e+00'
    )


@pytest.mark.parametrize('name', ['', 'two words', 'x' * 256])
def test_names_that_ncnn_cannot_read(layers, name):
    layers[1].name = name
    with pytest.raises(InputError, match='name in the graph'):
        param_text(layers)


def test_weights_of_each_kind(layers):
    """A tag by type before weights, none before the rest, four by four."""
    layers[1].weights.append(Weight(np.array([1, -1, 127], np.int8), tagged=True))
    layers[1].weights.append(Weight(np.array([1, -2, 0.5], np.float16), tagged=True))
    assert weight_bytes(layers) == b''.join(
        [
            struct.pack('<I2f', 0, 1, -2),
            struct.pack('<2f', 0.5, 0),
            struct.pack('<I3bx', 0x000D4B38, 1, -1, 127),
            struct.pack('<I3H2x', 0x01306B47, 0x3C00, 0xC000, 0x3800),
        ]
    )


def test_float16_for_weights_alone(layers):
    """A bias stays, and so does a layer that float16 has no numbers for."""
    large = Layer(
        'InnerProduct',
        'large',
        ['y'],
        ['z'],
        weights=[Weight(floats(65505), tagged=True)],
    )
    memory = Layer('MemoryData', 'm', [], ['m'], weights=[Weight(floats(1))])
    stored = to_fp16([*layers, large, memory])
    kinds = [w.values.dtype for layer in stored for w in layer.weights]
    assert kinds == ['float16', 'float32', 'float32', 'float32']
    assert layers[1].weights[0].values.dtype == np.float32


def test_save_writes_both_files(layers, tmp_path):
    paths = tmp_path / 'a.param', tmp_path / 'a.bin'
    save(layers, *paths)
    assert paths[0].read_text() == param_text(layers)
    assert paths[1].read_bytes() == weight_bytes(layers)


def test_every_reader_gets_a_copy():
    """x is read twice, y by no layer, z once and from outside."""
    layers = [
        Layer('Input', 'in', [], ['x']),
        Layer('A', 'a', ['x', 'x'], ['y']),
        Layer('B', 'b', [], ['z']),
        Layer('C', 'c', ['z'], ['end']),
    ]
    found = [
        (layer.type, layer.inputs, layer.outputs)
        for layer in with_splits(layers, ['y', 'z', 'end'])
    ]
    assert found == [
        ('Input', [], ['x']),
        ('Split', ['x'], ['x_split_0', 'x_split_1']),
        ('A', ['x_split_0', 'x_split_1'], ['y']),
        ('B', [], ['z_split']),
        ('Split', ['z_split'], ['z_split_0', 'z']),
        ('C', ['z_split_0'], ['end']),
    ]
