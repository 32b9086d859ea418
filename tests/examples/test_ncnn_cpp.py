"""The C++ example predicts as the Python runner does, from the same folder.

NCNN_DIR is the folder of ncnn's source; NCNN_BUILD_DIR, where it is set, keeps what was
compiled (3 minutes of one core) for the next run.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('ncnn')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from exported_folders import write_folder

from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.ncnn import OPTIONS

pytest_plugins = ['deploy_networks']

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / 'shared'
NCNN = os.environ.get('NCNN_DIR')
#: One instruction set, the oldest: the build is short, and the rounding another one.
FLAGS = ['-DNCNN_RUNTIME_CPU=OFF', '-DNCNN_AVX=OFF']

pytestmark = [
    pytest.mark.skipif(not NCNN, reason="NCNN_DIR, ncnn's source, is not set"),
    pytest.mark.skipif(
        not (shutil.which('cmake') and shutil.which('c++')), reason='no C++ compiler'
    ),
]
OFFICIAL = {
    'det': ('ssdlite_mnv2_objects', 'mobile_object_localizer_v1_1_default_1.tflite'),
    'seg': ('deeplabv3_mnv2_voc', 'deeplabv3_mnv2_pascal_quant.tflite'),
    'cls': ('mnv2_in1k', 'mobilenet_v2_1.0_224_quant.tflite'),
}
EXPORTS = [
    ('det', 'ncnn_static', {}),
    ('det', 'ncnn_fp16_static', {}),
    ('seg', 'ncnn_static_513', {'ir_config.input_shape': '[96,96]'}),
    ('cls', 'ncnn_static', {}),
]


@pytest.fixture(scope='module')
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled."""
    folder = os.environ.get('NCNN_BUILD_DIR') or tmp_path_factory.mktemp('ncnn_cpp')
    source = ['-S', ROOT / 'examples/ncnn_cpp', f'-DNCNN_DIR={NCNN}', *FLAGS]
    for command in (
        ['cmake', '-B', folder, *source],
        ['cmake', '--build', folder, '--parallel', '2'],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return Path(folder) / 'mnv2_ncnn'


def run(program: Path, *arguments: object) -> list[dict]:
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(program: Path, folder: Path, image: Path) -> None:
    """Compare both runners on an image without loss, as decoders of JPEG differ."""
    model, photo = ExportedModel(folder), cv2.imread(str(image))
    wanted, classes = model(photo), model.info['classes']
    if model.info['task'] == 'seg':
        path = folder.parent / f'{folder.name}_mask.png'
        rows = run(program, folder, image, path)
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask.shape == wanted['mask'].shape
        assert (mask != wanted['mask']).mean() <= 1e-4
        assert [row['label'] for row in rows] == np.unique(mask).tolist()
        assert len(rows) > 1
        assert sum(row['share'] for row in rows) == pytest.approx(1)
    elif model.info['task'] == 'cls':
        rows = run(program, folder, image)
        best = np.argsort(-wanted['probabilities'])[:5]
        assert [row['label'] for row in rows] == best.tolist()
        found = [row['probability'] for row in rows]
        np.testing.assert_allclose(found, wanted['probabilities'][best], atol=1e-5)
    else:
        rows = run(program, folder, image, 0)
        assert len(rows) == len(wanted['scores']) > 5
        # equal scores may change places
        ours = sorted((r['label'], *r['box'], r['score']) for r in rows)
        theirs = sorted(
            (int(label), *map(float, box), float(score))
            for label, box, score in zip(
                wanted['labels'], wanted['boxes'], wanted['scores'], strict=True
            )
        )
        gap = np.abs(np.array(ours) - theirs).max(0)
        assert gap[0] == 0
        assert gap[1:5].max() <= 1e-3
        assert gap[5] <= 1e-5
    assert all(row['class'] == classes[row['label']] for row in rows)


@pytest.mark.parametrize(('task', 'kind', 'options'), EXPORTS)
def test_it_predicts_as_the_python_runner(
    program: Path,
    network: Callable,
    built: Callable,
    tmp_path: Path,
    task: str,
    kind: str,
    options: dict,
) -> None:
    photo = cv2.imread(str(network(task)[2]))
    for size in [(64, 64), (211, 157)]:
        image = tmp_path / f'{size[0]}.png'
        cv2.imwrite(str(image), cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC))
        check(program, built(task, kind, **options), image)


@pytest.mark.parametrize(
    ('shape', 'share', 'side'),
    [
        ((640, 640), 1.0, 300),  # some weights are halves
        ((700, 700), 1.0, 9),
        ((1, 1), 0.875, 8),
        ((3, 2), 1.0, 9),
    ],
)
def test_the_steps_are_those_of_the_python_runner(
    program: Path, tmp_path: Path, shape: tuple[int, int], share: float, side: int
) -> None:
    resize = dict(do='resize', size=[side, side], interpolation='bilinear')
    info = dict(options=OPTIONS, input=dict(name='x', shape=[1, 3, side, side]))
    folder = write_folder(tmp_path / 'mean', 'ncnn', **info)
    text = json.loads((folder / 'model.json').read_text())
    text['preprocessing']['steps'] = [dict(do='crop_square', share=share), resize]
    (folder / 'model.json').write_text(json.dumps(text))
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    check(program, folder, tmp_path / 'a.png')


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason='needs the files of ../shared')
@pytest.mark.parametrize('task', OFFICIAL)
def test_googles_networks(
    program: Path, run_tool: Callable, tmp_path: Path, task: str
) -> None:
    from mnv2_mm.checkpoints.convert import convert, save
    from mnv2_mm.utils.config import get_config

    config, file = OFFICIAL[task]
    cfg = get_config(f'official/{config}').copy()
    save(convert(SHARED / 'weights' / file, cfg)[0], tmp_path / 'w.pth')
    image, folder = tmp_path / 'photo.png', tmp_path / 'exported'
    photo = cv2.imread(str(SHARED / 'data/demo_photos/two_dogs.jpg'))
    cv2.imwrite(str(image), photo)
    deploy = f'{task}_ncnn_static' + '_513' * (task == 'seg')
    arguments = deploy, f'official/{config}', tmp_path / 'w.pth', image
    assert run_tool('export', *arguments, '--work-dir', folder) == 0
    check(program, folder, image)


@pytest.mark.parametrize(
    'damage',
    [
        'no json',
        'format',
        'bytes',
        'no image',
        'step',
        'size',
        'blob',
        'narrow',
        'score',
    ],
)
def test_bad_input_is_one_message(
    program: Path, built: Callable, tmp_path: Path, damage: str
) -> None:
    folder, image = tmp_path / 'copy', tmp_path / 'a.png'
    task = 'det' if damage == 'score' else 'cls'
    shutil.copytree(built(task, 'ncnn_static'), folder)
    cv2.imwrite(str(image), np.zeros((9, 9, 3), np.uint8))
    info = json.loads((folder / 'model.json').read_text())
    if damage == 'bytes':
        (folder / 'end2end.bin').write_bytes(b'short')
    elif damage == 'no image':
        image.unlink()
    elif damage == 'format':
        info['format'] = 1
    elif damage == 'size':
        info['input']['shape'][3] += 32
    elif damage == 'blob':
        info['input']['name'] = 'x'
    elif damage == 'narrow':
        cv2.imwrite(str(image), np.zeros((1, 500, 3), np.uint8))
        resize = dict(do='resize', size=[64, 64], interpolation='bilinear')
        info['preprocessing']['steps'] = [resize | dict(keep_ratio=True)]
    elif damage == 'step':
        info['preprocessing']['steps'][0]['do'] = 'rotate'
    (folder / 'model.json').write_text(json.dumps(info))
    if damage == 'no json':
        (folder / 'model.json').unlink()
    command = [program, folder, image, *(['high'] if damage == 'score' else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    *others, error = done.stderr.splitlines()
    assert error.startswith('error: ')
    assert not others or damage == 'blob'  # ncnn says something of its own
    assert damage != 'score' or 'high' in error
