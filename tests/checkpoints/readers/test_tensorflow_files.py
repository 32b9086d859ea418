"""Real files of TensorFlow, written here; skipped where it is absent."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnv2_mm.checkpoints.readers.tensorflow import read_tensorflow
from mnv2_mm.utils.errors import InputError

tf = pytest.importorskip('tensorflow')
v1 = tf.compat.v1

STEM = 'MobilenetV2/Conv'
BLOCK = 'MobilenetV2/expanded_conv/depthwise'
OUTPUT = f'{BLOCK}/BatchNorm/FusedBatchNormV3'


def batch_norm(x):
    """As slim names it: four variables below BatchNorm."""
    channels = x.shape[-1]
    with v1.variable_scope('BatchNorm'):
        variables = [
            v1.get_variable(name, [channels])
            for name in ('gamma', 'beta', 'moving_mean', 'moving_variance')
        ]
        return v1.nn.fused_batch_norm(
            x, *variables, is_training=False, name='FusedBatchNormV3'
        )[0]


def network():
    """The stem and the first depthwise convolution, with slim's names."""
    x = v1.placeholder(tf.float32, [1, 8, 8, 3], name='input')
    with v1.variable_scope(STEM):
        weights = v1.get_variable('weights', [3, 3, 3, 4])
        x = batch_norm(tf.nn.conv2d(x, weights, 2, 'SAME', name='Conv2D'))
    with v1.variable_scope(BLOCK):
        kernel = v1.get_variable('depthwise_weights', [3, 3, 4, 1])
        x = tf.nn.depthwise_conv2d(
            tf.nn.relu6(x), kernel, [1, 1, 1, 1], 'SAME', name='depthwise'
        )
        return batch_norm(x)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """A training's checkpoint, the frozen graph, and the raw values."""
    folder = tmp_path_factory.mktemp('tensorflow')
    with tf.Graph().as_default(), v1.Session() as session:
        v1.disable_resource_variables()
        v1.set_random_seed(0)
        output = network()
        variables = v1.global_variables()
        step = v1.train.get_or_create_global_step()
        average = tf.train.ExponentialMovingAverage(0.5)
        loss = tf.reduce_sum(output)
        trained = v1.train.RMSPropOptimizer(0.1, momentum=0.9).minimize(
            loss, step, var_list=variables[:2]
        )
        averaged = average.apply(variables)
        session.run(v1.variables_initializer(variables))
        for variable in variables:
            values = np.random.default_rng(0).uniform(0.5, 1.5, variable.shape)
            session.run(variable.assign(values))
        others = v1.global_variables()[len(variables) :]
        session.run(v1.variables_initializer(others))
        session.run(trained, {'input:0': np.ones((1, 8, 8, 3))})
        # an average of decay 1/2 is then 3/4 of it
        session.run([variable.assign(2 * variable) for variable in variables])
        session.run(averaged)
        v1.train.Saver().save(session, str(folder / 'model.ckpt'), step)
        names = [variable.op.name for variable in variables]
        raw = dict(zip(names, session.run(variables), strict=True))
        graph = v1.graph_util.convert_variables_to_constants(
            session, session.graph.as_graph_def(), [OUTPUT]
        )
    path = folder / 'frozen.pb'
    path.write_bytes(graph.SerializeToString())
    return folder, graph, raw


def same(tensors, values):
    return set(tensors) == set(values) and all(
        np.allclose(tensors[key].numpy(), values[key], rtol=1e-6) for key in values
    )


def test_a_checkpoint_gives_the_moving_averages(written):
    folder, _, raw = written
    source = read_tensorflow(folder)
    assert source.path == str(folder / 'model.ckpt-1')
    trained = (f'{STEM}/weights', f'{STEM}/BatchNorm/gamma')
    means = {k: 0.75 * v for k, v in raw.items() if k not in trained}
    assert len(raw) == 10 and set(source.tensors) == set(raw)
    assert same({k: source.tensors[k] for k in means}, means)
    reasons = source.set_aside
    assert reasons['global_step'] == 'int64, no float'
    assert reasons[f'{STEM}/weights/RMSProp_1'] == 'slot of the optimizer'
    # 10 raw values, 2 slots of 2 trained variables, the counter
    assert len(reasons) == 10 + 4 + 1


def test_a_frozen_graph_gives_its_variables(written):
    folder, _, raw = written
    source = read_tensorflow(folder / 'frozen.pb')
    assert source.format == 'TensorFlow frozen graph'
    assert same(source.tensors, raw)
    assert source.tensors[f'{BLOCK}/depthwise_weights'].shape == (3, 3, 4, 1)


def test_a_graph_of_float16_is_read(written, tmp_path):
    _, graph, raw = written
    float16 = v1.GraphDef()
    float16.CopyFrom(graph)
    for node in float16.node:
        if node.op == 'Const' and node.name in raw:
            value = tf.make_tensor_proto(raw[node.name].astype(np.float16))
            node.attr['value'].tensor.CopyFrom(value)
    path = tmp_path / 'float16.pb'
    path.write_bytes(float16.SerializeToString())
    rounded = {k: v.astype(np.float16) for k, v in raw.items()}
    assert same(read_tensorflow(path).tensors, rounded)


def test_a_fused_batch_norm_is_a_bias_of_its_scope(written, tmp_path):
    _, graph, raw = written
    library = pytest.importorskip('tensorflow.python.tools.optimize_for_inference_lib')
    fused = library.optimize_for_inference(
        graph, ['input'], [OUTPUT], tf.float32.as_datatype_enum
    )
    path = tmp_path / 'fused.pb'
    path.write_bytes(fused.SerializeToString())
    tensors = read_tensorflow(path).tensors
    expected = {}
    for scope, leaf in ((STEM, 'weights'), (BLOCK, 'depthwise_weights')):
        gamma, beta, mean, variance = (
            raw[f'{scope}/BatchNorm/{name}']
            for name in ('gamma', 'beta', 'moving_mean', 'moving_variance')
        )
        scale = gamma / np.sqrt(variance + 1e-3)
        if leaf == 'depthwise_weights':
            weights = raw[f'{scope}/{leaf}'] * scale[:, None]
        else:
            weights = raw[f'{scope}/{leaf}'] * scale
        expected[f'{scope}/{leaf}'] = weights
        expected[f'{scope}/biases'] = beta - mean * scale
    assert set(tensors) == set(expected)
    for key, value in expected.items():
        assert np.allclose(tensors[key].numpy(), value, atol=1e-5), key


def test_a_constant_cannot_claim_terabytes(tmp_path):
    graph = v1.GraphDef()
    node = graph.node.add(name=f'{STEM}/weights', op='Const')
    tensor = node.attr['value'].tensor
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.float_val.append(1.0)
    for _ in range(2):
        tensor.tensor_shape.dim.add(size=1 << 20)
    path = tmp_path / 'graph.pb'
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(InputError, match='1099511627776 weights'):
        read_tensorflow(path)
    tensor.tensor_shape.dim[0].size = -1
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(InputError, match='damaged'):
        read_tensorflow(path)


@pytest.mark.parametrize('content', [b'<html>404</html>', b'', b'\xff' * 99])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / 'graph.pb'
    path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)):
        read_tensorflow(path)


@pytest.mark.parametrize(
    'part', ['frozen.pb', 'model.ckpt-1.index', 'model.ckpt-1.data-00000-of-00001']
)
def test_damaged_files_are_read_or_refused(written, tmp_path, part):
    folder, *_ = written
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = (folder / part).read_bytes()
    places = st.integers(0, len(data) - 1)

    @settings(
        max_examples=100,
        deadline=5000,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(
        st.lists(st.tuples(places, st.integers(0, 255)), max_size=4),
        places | st.just(len(data)),
    )
    def check(changes, end):
        content = bytearray(data)
        for place, value in changes:
            content[place] = value
        (tmp_path / part).write_bytes(content[:end])
        try:
            source = read_tensorflow(tmp_path / part)
        except InputError as error:
            assert str(tmp_path) in str(error)
        else:
            assert sum(t.numel() for t in source.tensors.values()) < 1e5

    check()
