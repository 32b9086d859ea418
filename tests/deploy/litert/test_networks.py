"""Exported networks in LiteRT give PyTorch's answers, and hold their labels."""

import io
import zipfile

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx2tf', reason='onnx2tf is not installed')
pytest.importorskip('ai_edge_quantizer')
pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from mnv2_mm.api import init_model, predict
from mnv2_mm.deploy.compare import match, plain
from mnv2_mm.runtime.litert import DETECTIONS
from mnv2_mm.runtime.model import ExportedModel

pytest_plugins = ['deploy_networks']

SLOW = pytest.mark.slow  # the same code for another task or precision
FP16, INT8 = 'litert_fp16_static', 'litert_int8_static'


@pytest.mark.parametrize(
    ('task', 'kind'),
    [
        ('det', 'litert_static'),
        pytest.param('cls', 'litert_static', marks=SLOW),
        pytest.param('seg', 'litert_static_513', marks=SLOW),
        pytest.param('det', FP16, marks=SLOW),
        pytest.param('det', INT8, marks=SLOW),
        pytest.param('cls', INT8, marks=SLOW),
        pytest.param('seg', f'{INT8}_513', marks=SLOW),
    ],
)
def test_a_network_agrees_with_pytorch(network, built, task, kind):
    options = {'ir_config.input_shape': '[96,96]'} if task == 'seg' else {}
    folder = built(task, kind, **options)
    config, checkpoint, path = network(task)
    image = cv2.imread(str(path))
    model = ExportedModel(folder, threads=1)
    wanted, found = plain(predict(init_model(config, checkpoint), image)), model(image)
    exact = 'fp16' not in kind and 'int8' not in kind
    if task == 'det':
        counted, matched, box, score = match(wanted, found)
        assert counted >= 20
        if exact:
            assert matched == counted
            assert box < 0.01
            assert score < 1e-4
        else:  # random scores lie close together
            assert matched >= (0.9 if 'fp16' in kind else 0.3) * counted
    elif task == 'cls':
        gap = np.abs(wanted['probabilities'] - found['probabilities']).max()
        assert gap < (1e-5 if exact else 0.05)
    else:
        differing = (wanted['mask'] != found['mask']).mean()
        assert differing < (1e-4 if exact else 0.5)


def test_a_detector_has_googles_outputs_and_the_labels(built):
    """Clients find the labels in the zip archive at the end of the file."""
    folder = built('det', 'litert_static')
    model = ExportedModel(folder)
    details = model.network.interpreter.get_output_details()
    assert tuple(x['name'] for x in details) == DETECTIONS
    keep = details[1]['shape'][1]
    shapes = [(1, keep, 4), (1, keep), (1, keep), (1,)]
    assert [tuple(x['shape']) for x in details] == shapes
    data = (folder / 'end2end.tflite').read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        labels = archive.read('labels.txt').decode().splitlines()
    assert tuple(labels) == model.classes
    assert data.count(b'TFLITE_METADATA') == 1


def test_an_image_without_objects_has_none(built):
    network = ExportedModel(built('det', 'litert_static')).network
    outputs = network(np.zeros((1, 3, 128, 128), np.float32))
    scores, labels = outputs['dets'][..., 4], outputs['labels']
    assert ((labels >= 0) == (scores > 0)).all()
    assert np.isfinite(outputs['dets']).all()
