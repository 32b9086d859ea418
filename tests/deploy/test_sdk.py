"""The files of mmdeploy's SDK, and the SDK itself against PyTorch.

``MNV2_SDK=PYTHON pytest -m sdk`` runs the SDK: PYTHON is of an environment with
mmdeploy_runtime 1.3.1 (CPython 3.6 to 3.10) and a numpy before 2.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from mmcv.transforms import Compose
from mmpretrain.registry import TRANSFORMS

from mnv2_mm.api import init_model, predict
from mnv2_mm.deploy.compare import match, plain
from mnv2_mm.deploy.sdk import transforms
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.preprocess import prepare

pytest_plugins = ['deploy_networks']

ROOT = Path(__file__).resolve().parents[2]
SDK = os.environ.get('MNV2_SDK')
MEAN = [120.0, 121.0, 122.0]


@pytest.fixture(scope='module')
def dumped(network: Callable, run_tool: Callable, once: Callable) -> Callable:
    """Export a small network whose checkpoint has its own mean, with --dump-info."""

    def get(task: str) -> Path:
        config, checkpoint, image = network(task)

        def export(folder: Path) -> None:
            weights = torch.load(checkpoint)
            weights['meta']['preprocessing'] = dict(mean=MEAN, std=[64.0] * 3)
            torch.save(weights, folder.with_suffix('.pth'))
            flags = ['--work-dir', folder, '--dump-info']
            arguments = config, folder.with_suffix('.pth'), image, *flags
            name = f'{task}_onnxruntime_static'
            assert run_tool('export', name, *arguments) == 0

        return once(f'{task}_sdk', export)

    return get


@pytest.mark.parametrize('task', [pytest.param('det', marks=pytest.mark.slow), 'cls'])
def test_the_files_describe_the_model(dumped: Callable, task: str) -> None:
    folder = dumped(task)
    model = json.loads((folder / 'deploy.json').read_text())['models'][0]
    assert (model['net'], model['backend']) == ('end2end.onnx', 'onnxruntime')
    pipeline = json.loads((folder / 'pipeline.json').read_text())['pipeline']
    steps, net, ending = pipeline['tasks']
    found = {step['type']: step for step in steps['transforms']}
    assert found['Normalize']['mean'] == MEAN  # the config has 127.5
    assert net['input_map'] == {'img': 'input'}
    info = ExportedModel(folder).info
    (size,) = (step['size'] for step in info['preprocessing']['steps'])
    assert found['Resize']['size'] == list(size)
    if task == 'det':
        threshold = info['thresholds']['score_thr']
        assert ending['params']['score_thr'] == threshold
    else:
        assert ending['component'] == 'LinearClsHead'
        assert ending['params']['num_classes'] == len(info['classes'])
    assert json.loads((folder / 'detail.json').read_text())['codebase']['task']


@pytest.mark.parametrize(
    ('config', 'task', 'message'),
    [
        ('seg_onnxruntime_static_513', 'seg', 'not for segmentation'),
        ('det_ncnn_static', 'det', 'onnxruntime, not of ncnn'),
    ],
)
def test_what_the_sdk_cannot_run_is_refused(
    network: Callable,
    run_tool: Callable,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    config: str,
    task: str,
    message: str,
) -> None:
    flags = ['--work-dir', tmp_path / 'exported', '--dump-info']
    assert run_tool('export', config, *network(task), *flags) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / 'exported').exists()


@pytest.mark.parametrize(
    'steps',
    [
        [dict(do='resize', size=[80, 48], keep_ratio=False)],
        [dict(do='resize_short', side=96), dict(do='crop_middle', size=[80, 80])],
        [dict(do='crop_share', share=0.5), dict(do='resize', size=[64, 64])],
        [dict(do='crop_square', share=0.875), dict(do='resize', size=[56, 56])],
    ],
)
def test_transforms_give_the_pixels_of_the_steps(steps: list[dict]) -> None:
    """An image whose crops have whole borders: nothing moves."""
    image = np.random.default_rng(0).integers(0, 256, (256, 320, 3), np.uint8)
    steps = [
        dict(step, interpolation='bilinear')
        | (dict(keep_ratio=False) if step['do'] == 'resize' else {})
        for step in steps
    ]
    spec = dict(steps=steps, color_order='BGR', mean=[0] * 3, std=[1] * 3)
    spec |= dict(pad_to=None, pad_multiple=1, pad_value=0)
    wanted = prepare(image, spec)[0][0].transpose(1, 2, 0)
    made = Compose([TRANSFORMS.build(step) for step in transforms(steps)])
    np.testing.assert_array_equal(made(dict(img=image))['img'], wanted)


def test_the_sdk_reads_a_crop_as_height_and_width() -> None:
    (crop,) = transforms([dict(do='crop_middle', size=[80, 64])])
    assert crop == dict(type='CenterCrop', crop_size=(64, 80))


@pytest.mark.sdk
@pytest.mark.skipif(not SDK, reason='MNV2_SDK, a Python with mmdeploy_runtime, not set')
@pytest.mark.parametrize('task', ['det', 'cls'])
def test_the_sdk_predicts_as_pytorch(
    dumped: Callable, network: Callable, tmp_path: Path, task: str
) -> None:
    folder, photo = dumped(task), cv2.imread(str(network(task)[2]))
    sizes = [(64, 64), (211, 157), (90, 300)]
    images = [cv2.resize(photo, s, interpolation=cv2.INTER_CUBIC) for s in sizes]
    files = [tmp_path / f'{number}.npy' for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        np.save(file, image)
    command = [SDK, ROOT / 'tests/helpers/sdk_run.py', task, folder, *files]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith('{')]
    model = init_model(network(task)[0], folder.with_suffix('.pth'))
    for image, line in zip(images, lines, strict=True):
        found = {key: np.array(value) for key, value in json.loads(line).items()}
        wanted = plain(predict(model, image))
        if task == 'det':
            # the SDK clips boxes to the last pixel, mmdet to the border after it
            height, width = image.shape[:2]
            last = np.array([width, height] * 2) - 1
            wanted['boxes'] = np.minimum(wanted['boxes'], last)
            counted, matched, box, score = match(wanted, found)
            assert matched == counted > 5
            assert box < 1e-3
            assert score < 1e-6
        else:
            probabilities = wanted['probabilities'][found['labels']]
            np.testing.assert_allclose(found['scores'], probabilities, atol=1e-6)
            assert found['labels'][0] == wanted['probabilities'].argmax()
