"""Google's trained networks predict the same exported as in PyTorch, on photos.

The networks are those of configs/official with converted weights. Compared is
the prediction for a photo file: PyTorch by mnv2_mm.api, the exported model by
mnv2_mm.runtime.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('tflite')
pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

import onnx

from mnv2_mm.api import init_model, predict
from mnv2_mm.checkpoints.convert import convert, save
from mnv2_mm.deploy.compare import match, plain
from mnv2_mm.deploy.quantize import quantize
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.runtime.preprocess import prepare
from mnv2_mm.utils.config import get_config

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / 'shared'
PHOTOS = sorted((SHARED / 'data/demo_photos').glob('*.jpg'))[:6]
PETS = sorted((SHARED / 'data/pets_mini/train').glob('*/*.jpg'))
OFFICIAL = {
    'det': ('ssdlite_mnv2_objects', 'mobile_object_localizer_v1_1_default_1.tflite'),
    'seg': ('deeplabv3_mnv2_voc', 'deeplabv3_mnv2_pascal_quant.tflite'),
    'cls': ('mnv2_in1k', 'mobilenet_v2_1.0_224_quant.tflite'),
}

pytestmark = pytest.mark.skipif(
    not ((SHARED / 'weights' / OFFICIAL['cls'][1]).is_file() and PHOTOS),
    reason='needs the trained files and the photos of ../shared',
)


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """Config name and converted checkpoint of a task."""
    made = {}

    def get(task):
        if task not in made:
            name, file = OFFICIAL[task]
            cfg = get_config(f'official/{name}').copy()
            path = tmp_path_factory.mktemp(task) / 'converted.pth'
            save(convert(SHARED / 'weights' / file, cfg)[0], path)
            made[task] = f'official/{name}', path
        return made[task]

    return get


@pytest.fixture(scope='module')
def built(official, run_tool, tmp_path_factory):
    made = {}

    def get(task, kind):
        if (task, kind) not in made:
            config, checkpoint = official(task)
            folder = tmp_path_factory.mktemp('exported')
            backend = '' if kind.startswith('tensorrt') else 'onnxruntime_'
            deploy_config = f'configs/deploy/{task}_{backend}{kind}.py'
            code = run_tool(
                'deploy',
                ROOT / deploy_config,
                config,
                checkpoint,
                PHOTOS[0],
                '--work-dir',
                folder,
            )
            assert code == 0
            made[task, kind] = folder
        return made[task, kind]

    return get


@pytest.fixture(scope='module')
def wanted(official):
    """PyTorch's predictions for the photos."""
    made = {}

    def get(task):
        if task not in made:
            model = init_model(*official(task))
            made[task] = [
                plain(predict(model, cv2.imread(str(photo)))) for photo in PHOTOS
            ]
        return made[task]

    return get


def pairs(wanted, folder):
    model = ExportedModel(folder, threads=1)
    for path, reference in zip(PHOTOS, wanted, strict=True):
        yield reference, model(cv2.imread(str(path)))


SLOW = pytest.mark.slow  # the other graph of the same network


@pytest.mark.slow  # test_networks.py of ncnn has these weights, test_model.py the graph
@pytest.mark.parametrize('kind', ['static', 'dynamic'])
def test_detection(wanted, built, kind):
    total = 0
    for reference, found in pairs(wanted('det'), built('det', kind)):
        counted, matched, box, score = match(reference, found)
        total += counted
        assert matched == counted
        assert box < 0.01
        assert score < 1e-4
    assert total > 100


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['static_513', 'dynamic'])
def test_segmentation(wanted, built, kind):
    seen = set()
    for reference, found in pairs(wanted('seg'), built('seg', kind)):
        differing = (reference['mask'] != found['mask']).mean()
        assert differing <= 20 / 512**2
        seen |= set(np.unique(found['mask']).tolist())
    assert len(seen) > 3


def test_classification(wanted, built):
    for reference, found in pairs(wanted('cls'), built('cls', 'static')):
        gap = reference['probabilities'] - found['probabilities']
        assert np.abs(gap).max() < 1e-5


@pytest.mark.parametrize(
    ('task', 'size'),
    [
        pytest.param('det', '', marks=SLOW),
        pytest.param('seg', '_513', marks=SLOW),
        pytest.param('cls', '', marks=SLOW),
    ],
)
def test_tensorrts_float16_in_onnxruntime(wanted, built, task, size):
    """The graph that TensorRT gets, run by onnxruntime."""
    model = ExportedModel(built(task, f'static{size}'), threads=1)
    folder = built(task, f'tensorrt_fp16_static{size}')
    model.network = OnnxRuntime([folder / 'end2end.onnx'], threads=1)
    for path, reference in zip(PHOTOS, wanted(task), strict=True):
        found = model(cv2.imread(str(path)))
        if task == 'det':
            counted, matched, box, score = match(reference, found)
            assert matched >= 0.97 * counted
            assert box < 4
            assert score < 0.02
        elif task == 'seg':
            # most where cup and table compete, on one photo
            assert (reference['mask'] != found['mask']).mean() < 0.02
        else:
            gap = reference['probabilities'] - found['probabilities']
            assert 1e-6 < np.abs(gap).max() < 0.01


@pytest.mark.parametrize('symmetric', [False, pytest.param(True, marks=SLOW)])
def test_eight_bits_name_the_same_classes(wanted, built, tmp_path, symmetric):
    """Both forms of int8: onnxruntime's and, run in it, TensorRT's."""
    model = ExportedModel(built('cls', 'static'), threads=1)
    spec = model.info['preprocessing']
    images = [cv2.imread(str(file)) for file in PETS[::8][:30]]
    graph = onnx.load(built('cls', 'static') / 'end2end.onnx')
    quantized = quantize(
        graph, [prepare(p, spec)[0] for p in images], symmetric=symmetric
    )
    file = tmp_path / 'quantized.onnx'
    onnx.save(quantized, file)
    model.network = OnnxRuntime([file], threads=1, exact_int8=symmetric)
    same, sure = 0, 0
    for path, reference in zip(PHOTOS, wanted('cls'), strict=True):
        shares = reference['probabilities']
        if shares.max() > 0.5:
            found = model(cv2.imread(str(path)))['probabilities']
            sure += 1
            same += int(found.argmax() == shares.argmax())
    assert sure >= 5
    assert same == sure
