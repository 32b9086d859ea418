"""README.txt of an exported model: its lines run, and it says what model.json says."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
from exported_folders import write_folder

from mnv2_mm.deploy.readme import PYTHON, SHELL, readme
from mnv2_mm.runtime.description import read_info

#: Runs code as on a device: torch and mmengine are not there.
DEVICE = (
    'import sys; sys.modules.update(torch=None, mmengine=None, mmcv=None, rich=None)\n'
)


def on_device(folder: Path, code: str) -> subprocess.CompletedProcess:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, '-c', DEVICE + code],
        cwd=folder,
        capture_output=True,
        text=True,
        env={'PYTHONPATH': root, 'PATH': '', 'PYTHONIOENCODING': 'ascii'},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    red = np.zeros((5, 4, 3), np.uint8)
    red[..., 2] = 255
    cv2.imwrite(str(tmp_path / 'photo.jpg'), red)
    return write_folder(tmp_path)


def test_its_python_lines_run_without_torch(folder: Path) -> None:
    done = on_device(folder, PYTHON)
    assert done.returncode == 0, done.stderr
    assert '"red"' in done.stdout
    assert list((folder / 'out').glob('*.jpg'))


def test_its_shell_line_runs_without_torch(folder: Path) -> None:
    code = f'sys.argv = {SHELL.split()}\nfrom mnv2_mm.commands.main import main\nmain()'
    done = on_device(folder, code)
    assert done.returncode == 0, done.stderr
    assert (folder / 'drawn.jpg').is_file()


def test_a_class_that_the_console_cannot_print(folder: Path) -> None:
    write_folder(folder, classes=['a', 'b', 'Zell\xe9'])
    code = 'from mnv2_mm.commands.main import main\n'
    for line in (SHELL, 'mnv2 predict . photo.jpg'):
        done = on_device(folder, f'{code}sys.argv = {line.split()}\nmain()')
        assert done.returncode == 0, done.stderr
        assert r'Zell\xe9' in done.stdout


BOXES = dict(
    name='detections',
    shape=[None, 6],
    columns=['label', 'score', 'x0', 'y0', 'x1', 'y1'],
    first_label=1,
    box_unit='input_fraction',
    meaning='boxes',
)
LIMITS = dict(score_thr=0.01, nms_iou=0.6, max_per_img=100, shown_score_thr=0.3)


@pytest.mark.parametrize(
    ('backend', 'changes', 'words'),
    [
        ('onnxruntime', {}, ['onnxruntime', 'y1', 'BGR', '8x8']),
        ('ncnn', {}, ['cmake', 'a.param', 'a.bin']),
        (
            'ncnn',
            dict(task='det', outputs=[BOXES], thresholds=LIMITS),
            ['?x6', 'label, score, x0', 'label 1 is the first', '0.6', '0.3'],
        ),
    ],
    ids=['onnxruntime', 'ncnn', 'detection'],
)
def test_it_says_what_model_json_says(
    tmp_path: Path, backend: str, changes: dict, words: list[str]
) -> None:
    pytest.importorskip(backend)
    folder = write_folder(tmp_path, backend, **changes)
    text = readme(read_info(folder)[1])
    assert not [word for word in words if word not in text]
    assert all(line in text for line in (*PYTHON.splitlines(), SHELL))
    assert max(map(len, text.splitlines())) <= 100


def test_an_unknown_file_of_that_name_is_no_danger(folder: Path) -> None:
    (folder / 'README.txt').write_bytes(b'\xff' * 100)
    read_info(folder)
