"""Checkpoints and frozen graphs of TensorFlow; most tests run without it."""

import hashlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mnv2_mm.checkpoints.readers.tensorflow import is_tensorflow, read_tensorflow
from mnv2_mm.checkpoints.readers.tensorflow_graph import graph_variables
from mnv2_mm.utils.errors import InputError

CONV = 'MobilenetV2/Conv'
AVERAGE = 'ExponentialMovingAverage'
FLOAT, FLOAT16, INT = 1, 19, 3


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Make a checkpoint that a stand-in for TensorFlow reads."""

    def make(values, shapes=None):
        values = {k: np.asarray(v) for k, v in values.items()}
        shapes = shapes or {k: v.shape for k, v in values.items()}
        reader = SimpleNamespace(
            get_variable_to_shape_map=lambda: shapes,
            get_variable_to_dtype_map=lambda: {
                name: SimpleNamespace(
                    is_floating=value.dtype.kind == 'f',
                    size=value.dtype.itemsize,
                    name=value.dtype.name,
                )
                for name, value in values.items()
            },
            get_tensor=values.__getitem__,
        )
        (tmp_path / 'model.ckpt-3.index').write_bytes(b'index')
        (tmp_path / 'model.ckpt-3.data-00000-of-00001').write_bytes(bytes(999))
        load = {str(tmp_path / 'model.ckpt-3'): reader}.__getitem__
        train = SimpleNamespace(load_checkpoint=load)
        monkeypatch.setitem(sys.modules, 'tensorflow', SimpleNamespace(train=train))
        return tmp_path / 'model.ckpt-3'

    return make


def floats(*values):
    return np.array(values, np.float32)


def test_moving_averages_replace_their_variables(checkpoint):
    source = read_tensorflow(
        checkpoint(
            {
                f'{CONV}/weights': floats(1, 2),
                f'{CONV}/weights/{AVERAGE}': floats(3, 4),
                f'{CONV}/weights/RMSProp': floats(5, 5),
                f'{CONV}/weights/RMSProp_1': floats(6, 6),
                f'{CONV}/BatchNorm/moving_mean': floats(7),
                f'{CONV}/BatchNorm/moving_mean/{AVERAGE}': floats(8),
                f'{CONV}/BatchNorm/moving_mean/biased': floats(9),
                f'{CONV}/BatchNorm/beta': np.array([1.5], np.float16),
                # the averages alone are saved sometimes
                f'{CONV}_1/weights/{AVERAGE}': floats(10),
                'gone/weights/Momentum': floats(11),
                'global_step': np.array(7),
                'beta1_power': floats(0.9),
            }
        )
    )
    assert {k: v.tolist() for k, v in source.tensors.items()} == {
        f'{CONV}/weights': [3, 4],
        f'{CONV}/BatchNorm/moving_mean': [8],
        f'{CONV}/BatchNorm/beta': [1.5],
        f'{CONV}_1/weights': [10],
    }
    assert source.tensors[f'{CONV}/BatchNorm/beta'].dtype.itemsize == 4
    assert source.set_aside == {
        f'{CONV}/weights': 'raw value; its moving average is read',
        f'{CONV}/weights/RMSProp': 'slot of the optimizer',
        f'{CONV}/weights/RMSProp_1': 'slot of the optimizer',
        f'{CONV}/BatchNorm/moving_mean': ('raw value; its moving average is read'),
        f'{CONV}/BatchNorm/moving_mean/biased': 'state of the training',
        'gone/weights/Momentum': 'slot of the optimizer',
        'global_step': 'int64, no float',
        'beta1_power': 'state of the training',
    }


@pytest.mark.parametrize(
    'name',
    ['model.ckpt-3', 'model.ckpt-3.index', 'model.ckpt-3.data-00000-of-00001', '.'],
)
def test_a_checkpoint_has_many_names(checkpoint, name):
    path = checkpoint({'a': floats(1)})
    assert is_tensorflow(path.parent / name)
    source = read_tensorflow(path.parent / name)
    assert source.path == str(path)
    # of the data file
    assert source.sha256 == hashlib.sha256(bytes(999)).hexdigest()


def test_the_latest_of_a_folder_is_taken_wherever_it_was(checkpoint):
    path = checkpoint({'a': floats(1)})
    (path.parent / 'model.ckpt-1.index').write_bytes(b'')
    with pytest.raises(InputError, match=r'ckpt-1, model\.ckpt-3; give'):
        read_tensorflow(path.parent)
    state = path.parent / 'checkpoint'
    state.write_text(
        'model_checkpoint_path: "/elsewhere/model.ckpt-3"\n'
        'all_model_checkpoint_paths: "/elsewhere/model.ckpt-1"\n'
    )
    assert read_tensorflow(path.parent).path == str(path)


@pytest.mark.parametrize(
    ('values', 'shapes', 'said'),
    [
        ({'a': floats(1)}, {'a': [1 << 40]}, 'claims 4398046511104 bytes'),
        ({'global_step': np.array(7)}, None, 'no variables'),
        ({'model/conv/.ATTRIBUTES/VARIABLE_VALUE': floats(1)}, None, 'TensorFlow 2'),
    ],
)
def test_other_checkpoints_are_refused(checkpoint, values, shapes, said):
    path = checkpoint(values, shapes)
    with pytest.raises(InputError, match=said) as error:
        read_tensorflow(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('missing', ['index', 'data-00000-of-00001'])
def test_a_missing_part_is_named(checkpoint, missing):
    path = checkpoint({'a': floats(1)})
    path.with_name(f'{path.name}.{missing}').unlink()
    with pytest.raises(InputError, match=f'{missing[:5]}.* is missing'):
        read_tensorflow(path)


def test_tensorflow_may_be_absent(checkpoint, monkeypatch):
    path = checkpoint({'a': floats(1)})
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    with pytest.raises(InputError, match='pip install tensorflow'):
        read_tensorflow(path)


@pytest.mark.parametrize('name', ['weights.pth', 'none.pb', 'none', '.'])
def test_other_paths_are_not_tensorflows(tmp_path, name):
    (tmp_path / 'weights.pth').write_bytes(b'')
    assert not is_tensorflow(tmp_path / name)


def test_a_saved_model_points_to_its_variables(tmp_path):
    path = tmp_path / 'saved_model.pb'
    path.write_bytes(b'')
    with pytest.raises(InputError, match=str(tmp_path / 'variables')):
        read_tensorflow(path)


def node(name, op, *inputs, dtype=FLOAT):
    tensor = SimpleNamespace(dtype=dtype, name=name)
    attr = {'value': SimpleNamespace(tensor=tensor)}
    return SimpleNamespace(name=name, op=op, input=list(inputs), attr=attr)


def const(name, dtype=FLOAT):
    return node(name, 'Const', dtype=dtype)


DEPTHWISE = 'MobilenetV2/expanded_conv/depthwise'


@pytest.mark.parametrize(
    ('nodes', 'variables'),
    [
        # freeze_graph, also in float16
        (
            [
                const(f'{CONV}/weights', FLOAT16),
                node(f'{CONV}/weights/read', 'Identity', f'{CONV}/weights'),
                node(f'{CONV}/Conv2D', 'Conv2D', 'x', f'{CONV}/weights/read'),
                const(f'{CONV}/BatchNorm/gamma'),
                const(f'{CONV}/BatchNorm/Const'),
                const('shape', INT),
            ],
            {
                f'{CONV}/weights': f'{CONV}/weights',
                f'{CONV}/BatchNorm/gamma': f'{CONV}/BatchNorm/gamma',
            },
        ),
        # the identities are constants themselves
        (
            [
                const(f'{CONV}/weights/read/_12__cf__12'),
                const(f'{CONV}/BatchNorm/beta/read'),
                const(f'{CONV}/biases/read'),
                const(f'{CONV}/biases'),
            ],
            {
                f'{CONV}/weights': f'{CONV}/weights/read/_12__cf__12',
                f'{CONV}/BatchNorm/beta': f'{CONV}/BatchNorm/beta/read',
                f'{CONV}/biases': f'{CONV}/biases',
            },
        ),
        # optimize_for_inference and fold_old_batch_norms
        (
            [
                const(f'{DEPTHWISE}/depthwise_weights'),
                node(
                    f'{DEPTHWISE}/depthwise',
                    'DepthwiseConv2dNative',
                    'x',
                    f'{DEPTHWISE}/depthwise_weights',
                ),
                const(f'{DEPTHWISE}/depthwise_bn_offset'),
                node(
                    f'{DEPTHWISE}/BatchNorm/FusedBatchNorm',
                    'BiasAdd',
                    f'{DEPTHWISE}/depthwise:0',
                    f'{DEPTHWISE}/depthwise_bn_offset',
                ),
            ],
            {
                f'{DEPTHWISE}/depthwise_weights': (f'{DEPTHWISE}/depthwise_weights'),
                f'{DEPTHWISE}/biases': f'{DEPTHWISE}/depthwise_bn_offset',
            },
        ),
        # quantization-aware training, its constants folded
        (
            [
                const(f'{CONV}/mul_fold'),
                const(f'{CONV}/weights_quant/min'),
                node(
                    f'{CONV}/weights_quant/FakeQuantWithMinMaxVars',
                    'FakeQuantWithMinMaxVars',
                    f'{CONV}/mul_fold',
                    f'{CONV}/weights_quant/min',
                ),
                node(
                    f'{CONV}/Conv2D_Fold',
                    'Conv2D',
                    'x',
                    f'{CONV}/weights_quant/FakeQuantWithMinMaxVars',
                ),
                const(f'{CONV}/BatchNorm_Fold/bias'),
                node(
                    f'{CONV}/add_fold',
                    'Add',
                    f'{CONV}/BatchNorm_Fold/bias',
                    f'{CONV}/Conv2D_Fold',
                ),
            ],
            {
                f'{CONV}/weights': f'{CONV}/mul_fold',
                f'{CONV}/biases': f'{CONV}/BatchNorm_Fold/bias',
            },
        ),
        # a shortcut and a convolution of computed weights add nothing
        (
            [
                node('a/Conv2D', 'Conv2D', 'x', 'computed'),
                node('computed', 'Mul', 'x', 'x'),
                node('add', 'Add', 'a/Conv2D', 'x'),
            ],
            {},
        ),
    ],
)
def test_variables_are_found_among_the_constants(nodes, variables):
    found, set_aside = graph_variables(nodes, 'graph.pb')
    assert {key: tensor.name for key, tensor in found.items()} == variables
    constants = {node.name for node in nodes if node.op == 'Const'}
    assert set(set_aside) == constants - set(variables.values())


def test_a_quantized_graph_is_refused():
    with pytest.raises(InputError, match='quantize_weights'):
        graph_variables([const('a/weights_quantized_const')], 'graph.pb')
