"""Exported networks in LiteRT give PyTorch's answers, and hold their labels."""

import io
import zipfile

import cv2
import numpy as np
import pytest
import torch

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
        pytest.param('det', 'litert_nms_static', marks=SLOW),
        ('cls', f'{INT8} uint8'),
        pytest.param('det', f'{INT8} uint8', marks=SLOW),
        pytest.param('seg', f'{INT8}_513 uint8', marks=SLOW),
    ],
)
def test_a_network_agrees_with_pytorch(network, built, task, kind):
    options = {'ir_config.input_shape': '[96,96]'} if task == 'seg' else {}
    kind, _, uint8 = kind.partition(' ')
    if uint8:
        options['backend_config.uint8'] = True
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


def test_pixels_enter_a_uint8_file_as_they_are(built):
    model = ExportedModel(built('cls', INT8, **{'backend_config.uint8': True}))
    interpreter = model.network.interpreter
    kinds = {x['dtype'] for x in interpreter.get_input_details()}
    kinds |= {x['dtype'] for x in interpreter.get_output_details()}
    kinds |= {
        x['dtype'] for x in interpreter.get_tensor_details() if x['shape'].size == 4
    }
    assert kinds <= {np.uint8, np.int8}  # nothing in float32
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    model(image)
    index = interpreter.get_input_details()[0]['index']
    np.testing.assert_array_equal(interpreter.get_tensor(index)[0], image[..., ::-1])
    assert model.info['input']['dtype'] == 'uint8'


@pytest.mark.parametrize(
    ('kind', 'change', 'message'),
    [
        ('litert_static', {}, "uint8 needs precision='int8'"),
        (INT8, {'mean': [1.0, 2.0, 3.0], 'std': [1.0] * 3}, 'same mean and std'),
    ],
)
def test_uint8_that_cannot_be_is_refused(
    network, run_tool, tmp_path, capfd, kind, change, message
):
    config, checkpoint, image = network('cls')
    weights = torch.load(checkpoint)
    if change:
        weights['meta']['preprocessing'] = change
    torch.save(weights, tmp_path / 'w.pth')
    flags = [
        '--work-dir',
        tmp_path / 'out',
        '--cfg-options',
        'backend_config.uint8=True',
    ]
    arguments = f'cls_{kind}', config, tmp_path / 'w.pth', image
    assert run_tool('export', *arguments, *flags) == 2
    assert message in capfd.readouterr().err


@pytest.mark.parametrize(
    'kind', ['litert_static', pytest.param('litert_nms_static', marks=SLOW)]
)
def test_an_image_without_objects_has_none(built, kind):
    network = ExportedModel(built('det', kind)).network
    outputs = network(np.zeros((1, 3, 128, 128), np.float32))
    scores, labels = outputs['dets'][..., 4], outputs['labels']
    assert ((labels >= 0) == (scores > 0)).all()
    assert np.isfinite(outputs['dets']).all()
