"""int8: ranges, scales and arithmetic worked by hand; and the runner."""

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxslim')

from mnv2_mm.deploy.ncnn.int8 import (
    Histogram,
    activation_ends,
    kept_in_float,
    quantized_inputs,
    to_int8,
)
from mnv2_mm.deploy.ncnn.layer import Layer, Weight
from mnv2_mm.deploy.ncnn.write import save
from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.utils.errors import InputError


def floats(values):
    return np.array(values, np.float32)


# ----------------------------------------------------------------- histogram
def test_a_histogram_grows_with_its_values():
    """4096 bins; 3 doubles the range from 1 to 4, the counts move along."""
    histogram = Histogram()
    histogram.add(floats([0, 0.5, -1.0]))
    assert histogram.end == 1
    assert np.flatnonzero(histogram.counts).tolist() == [2048, 4095]
    histogram.add(floats([[-3.0]]))
    assert histogram.end == 4
    assert np.flatnonzero(histogram.counts).tolist() == [512, 1023, 3072]
    assert histogram.counts.sum() == 3


def test_the_range_of_even_values_is_all_of_it():
    histogram = Histogram()
    histogram.add(np.linspace(-2, 2, 4001, dtype=np.float32))
    assert histogram.best_end() == 2


def test_an_outlier_is_cut_off():
    """A million even values up to 1, and a single one of 50.

    Rounding costs 10^6 (e / 127)^2 / 12 in all for a range of e, cutting off
    (50 - e)^2; the sum is least at 8.1.
    """
    histogram = Histogram()
    histogram.add(np.linspace(0, 1, 10**6, dtype=np.float32))
    histogram.add(floats([50]))
    assert 7.6 < histogram.best_end() < 8.6


def test_a_blob_of_zeros_has_no_range():
    histogram = Histogram()
    histogram.add(np.zeros((2, 3), np.float32))
    assert histogram.best_end() == 0


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_value_that_is_not_finite(value):
    with pytest.raises(InputError, match='infinite or NaN'):
        Histogram().add(floats([1, value]))


# --------------------------------------------------------- quantized layers
def conv(name, values, module=''):
    layer = Layer('Convolution', name, ['x'], ['y'], module=module)
    layer.params = {0: len(values)}
    layer.weights = [
        Weight(floats(values), tagged=True),
        Weight(floats([0.5] * len(values))),
    ]
    return layer


def test_weights_have_a_scale_each_channel():
    """127 over the largest; -0.5 * 127 is -63.5, rounded to even."""
    (layer,) = to_int8([conv('c', [[1, -0.5], [0, 0], [-4, 2]])], {'x': 6.0})
    values, bias, scales, activation = layer.weights
    assert values.values.dtype == np.int8
    assert values.values.tolist() == [[127, -64], [0, 0], [-127, 64]]
    assert bias.values.tolist() == [0.5, 0.5, 0.5]
    assert scales.values.tolist() == [127.0, 1.0, 31.75]
    assert activation.values.tolist() == [np.float32(127 / 6)]
    assert layer.params[8] == 2
    assert [w.tagged for w in layer.weights] == [True, False, False, False]


def test_a_depthwise_layer_has_a_scale_each_group():
    """Two groups of two filters share a scale."""
    layer = conv('c', [[2, 1], [1, 1], [1, 0], [0, -8]])
    layer.type, layer.params[7] = 'ConvolutionDepthWise', 2
    (found,) = to_int8([layer], {'x': 1.0})
    assert found.weights[2].values.tolist() == [63.5, 15.875]
    assert found.weights[0].values.tolist()[3] == [0, -127]
    assert found.params[8] == 1


def chain(*kinds):
    """Layers of one blob after the other, all of one channel."""
    layers = []
    for number, kind in enumerate(kinds):
        layer = conv(f'l{number}', [[number + 1.0]])
        layer.type = kind
        layer.inputs, layer.outputs = [f'b{number}'], [f'b{number + 1}']
        layers.append(layer)
    return layers


def test_what_the_next_layer_takes_is_given():
    """The reader's scale, 127 over its range, follows the layer's."""
    kinds = 'Convolution', 'ConvolutionDepthWise', 'Convolution'
    ends = {'b0': 1.0, 'b1': 2.0, 'b2': 4.0}
    found = to_int8(chain(*kinds), ends)
    assert [layer.params[8] for layer in found] == [102, 101, 2]
    assert [len(layer.weights) for layer in found] == [5, 5, 4]
    assert found[0].weights[4].values.tolist() == [63.5]
    assert found[1].weights[4].values.tolist() == [31.75]


@pytest.mark.parametrize(
    ('kinds', 'ends'),
    [
        (('Convolution', 'Convolution'), {'b0': 1.0}),
        (('Convolution', 'Convolution'), {'b1': 1.0}),
        (('Convolution', 'InnerProduct'), {'b0': 1.0, 'b1': 1.0}),
        (('Convolution', 'Split'), {'b0': 1.0, 'b1': 1.0}),
        (('InnerProduct', 'Convolution'), {'b0': 1.0, 'b1': 1.0}),
    ],
)
def test_who_gives_floats(kinds, ends):
    for layer in to_int8(chain(*kinds), ends):
        assert layer.params.get(8, 0) < 100


def test_a_layer_without_a_range_stays_in_float():
    layer = conv('c', [[1.0]])
    assert to_int8([layer], {'x': 0.0}) == [layer]
    assert to_int8([layer], {}) == [layer]


def test_parts_that_stay_in_float():
    """A path ends at a module, not within its name."""
    layers = [
        conv('a', [[1]], 'backbone.conv1.conv'),
        conv('b', [[1]], 'backbone.conv10.conv'),
        conv('c', [[1]], 'head'),
        Layer('ReLU', 'd', ['y'], ['z'], module='backbone.conv1'),
    ]
    assert kept_in_float(layers, ['backbone.conv1']) == {'a'}
    assert kept_in_float(layers, ['head', 'backbone']) == {'a', 'b', 'c'}
    assert kept_in_float(layers, []) == set()
    layers[1].inputs = ['w']
    assert quantized_inputs(layers, {'a', 'c'}) == ['w']
    with pytest.raises(InputError, match=r"'neck'.*are backbone, head"):
        kept_in_float(layers, ['head', 'neck'])


# ------------------------------------------------------------ with a runtime
@pytest.fixture
def network(tmp_path):
    """A 1x1 and a depthwise 3x3 convolution, as files and arrays."""
    pytest.importorskip('ncnn')
    random = np.random.default_rng(1)
    first = random.normal(0, 1, (8, 3, 1, 1)).astype(np.float32)
    second = random.normal(0, 1, (8, 1, 3, 3)).astype(np.float32)
    layers = [
        Layer('Input', 'x', [], ['x'], {0: 6, 1: 5, 2: 3}),
        Layer(
            'Convolution',
            'a',
            ['x'],
            ['y'],
            {0: 8, 1: 1, 5: 1, 6: first.size, 9: 1},
            [Weight(first, tagged=True), Weight(floats(range(8)))],
        ),
        Layer(
            'ConvolutionDepthWise',
            'b',
            ['y'],
            ['z'],
            {0: 8, 1: 3, 5: 1, 6: second.size, 7: 8},
            [Weight(second, tagged=True), Weight(floats(range(8)))],
        ),
    ]
    return layers, (tmp_path / 'a.param', tmp_path / 'a.bin'), random


def rounded(values, end):
    whole = np.clip(np.rint(values * np.float32(127 / end)), -127, 127)
    return whole * (end / 127)


def test_arithmetic_in_whole_numbers(network):
    """ncnn's result is that of the rounded inputs and rounded weights."""
    layers, paths, random = network
    x = random.normal(0, 1, (1, 3, 5, 6)).astype(np.float32)
    quantized = to_int8(layers, {'x': 2.0, 'y': 9.0})
    assert quantized[1].params[8] == 102  # int8 from the one to the other
    save(quantized, *paths)
    first, second = (
        np.stack([rounded(f, np.abs(f).max()) for f in layer.weights[0].values])
        for layer in layers[1:]
    )
    bias = np.arange(8).reshape(8, 1, 1)
    y = np.einsum('oi,ihw->ohw', first[..., 0, 0], rounded(x[0], 2.0))
    y = rounded(np.maximum(y + bias, 0), 9.0)
    windows = np.lib.stride_tricks.sliding_window_view(y, (3, 3), (1, 2))
    z = np.einsum('chwij,cij->chw', windows, second[:, 0]) + bias
    found = Ncnn(paths).run(x)['z'][0]
    # a value between two whole numbers may go either way
    assert np.median(np.abs(found - z)) < 1e-3
    assert np.abs(found - z).max() < 0.3


def test_ranges_of_the_blobs_inside(network):
    layers, paths, _ = network
    save(layers, *paths)
    runner = Ncnn(paths, all_blobs=True)
    images = [np.full((1, 3, 5, 6), v, np.float32) for v in (0.5, -2)]
    ends = activation_ends(runner, ['x', 'y'], images)
    kernel = layers[1].weights[0].values[..., 0, 0].sum(1)
    y = [np.maximum(v * kernel + np.arange(8), 0).max() for v in (0.5, -2)]
    # the largest value, or a step of the search less
    assert 1.9 <= ends['x'] <= 2
    assert 0.9 * max(y) <= ends['y'] <= 1.001 * max(y)
    with pytest.raises(InputError, match='needs calibration images'):
        activation_ends(runner, ['x'], [])


def test_no_16_bit_arithmetic(network):
    layers, paths, _ = network
    save(layers, *paths)
    runner = Ncnn(paths, threads=2)
    options = runner.net.opt  # does not keep the network alive
    assert not options.use_fp16_arithmetic
    assert not options.use_fp16_storage
    assert not options.use_fp16_packed
    assert not options.use_bf16_storage
    assert options.num_threads == 2


def test_what_the_runner_refuses(network):
    layers, (param, binary), _ = network
    save(layers, param, binary)
    runner = Ncnn((param, binary))
    x = np.zeros((1, 3, 5, 6), np.float32)
    with pytest.raises(InputError, match='not 2: set batch_size=1'):
        runner(np.concatenate([x, x]))
    with pytest.raises(InputError, match='returns nothing for nonsense'):
        runner.run(x, ['nonsense'])
    with pytest.raises(InputError, match='does not exist'):
        Ncnn((param, binary.with_name('b.bin')))
    binary.write_bytes(binary.read_bytes()[:60])
    with pytest.raises(InputError, match=r'does not accept .*a\.bin'):
        Ncnn((param, binary))
    param.write_text('7767517\n1 1\nNonsense a 0 1 a\n')
    with pytest.raises(InputError, match=r'does not accept .*a\.param'):
        Ncnn((param, binary))
