"""Exported networks in OpenVINO give PyTorch's answers."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

pytest.importorskip('openvino', reason='openvino is not installed')
pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from mnv2_mm.api import init_model, predict
from mnv2_mm.deploy.compare import match, plain
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.openvino import OpenVino
from mnv2_mm.utils.errors import InputError

pytest_plugins = ['deploy_networks']

SLOW = pytest.mark.slow  # the same code for another task


@pytest.mark.parametrize(
    'task', ['det', pytest.param('seg', marks=SLOW), pytest.param('cls', marks=SLOW)]
)
def test_a_network_agrees_with_pytorch(network, built, task):
    """Also where the processor has bfloat16, OpenVINO's default there."""
    size = '_513' if task == 'seg' else ''
    options = {'ir_config.input_shape': '[96,96]'} if task == 'seg' else {}
    folder = built(task, f'openvino_static{size}', **options)
    config, checkpoint, path = network(task)
    image = cv2.imread(str(path))
    wanted = plain(predict(init_model(config, checkpoint), image))
    found = ExportedModel(folder, threads=1)(image)
    if task == 'det':
        counted, matched, box, score = match(wanted, found)
        assert counted >= 20
        assert matched == counted
        assert box < 0.01
        assert score < 1e-4
    elif task == 'seg':
        assert (wanted['mask'] != found['mask']).mean() < 1e-4
    else:
        assert np.abs(wanted['probabilities'] - found['probabilities']).max() < 1e-5


def test_two_runs_do_not_share_memory(built):
    """OpenVINO's arrays are views, which its next run overwrites."""
    network = ExportedModel(built('det', 'openvino_static'), threads=1).network
    random = np.random.default_rng(0)
    first, other = random.normal(0, 1, (2, 1, 3, 128, 128)).astype(np.float32)
    found = network(first)
    kept = {name: value.copy() for name, value in found.items()}
    network(other)
    for name, value in found.items():
        np.testing.assert_array_equal(value, kept[name])


def test_threads_share_a_network(built):
    network = ExportedModel(built('det', 'openvino_static')).network
    random = np.random.default_rng(0)
    inputs = random.normal(0, 1, (4, 1, 3, 128, 128)).astype(np.float32)
    wanted = [network(pixels) for pixels in inputs]
    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(network, [*inputs] * 30)):
            for name, value in wanted[number % 4].items():
                np.testing.assert_allclose(found[name], value, atol=1e-3)


def test_a_damaged_file_is_refused(tmp_path):
    file = tmp_path / 'a.onnx'
    file.write_bytes(b'\x08\x08no model')
    with pytest.raises(InputError, match=r'a\.onnx'):
        OpenVino([file])
