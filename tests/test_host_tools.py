"""The hosts' own tools and inferencers run our configs, without our help.

Each runs in a fresh interpreter that never imports mnv2_mm by hand.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

HOSTS = {'det': 'mmdet', 'seg': 'mmseg', 'cls': 'mmpretrain'}
INFERENCERS = {
    'det': 'from mmdet.apis import DetInferencer as I; '
    'i = I({config!r}, {weights!r}, device="cpu"); '
    'print(len(i({photo!r})["predictions"]))',
    'seg': 'from mmseg.apis import MMSegInferencer as I; '
    'i = I({config!r}, {weights!r}, device="cpu"); '
    'print(i({photo!r})["predictions"].ndim)',
    'cls': 'from mmpretrain import ImageClassificationInferencer as I; '
    'i = I({config!r}, pretrained={weights!r}, device="cpu"); '
    'print(len(i({photo!r})))',
}


def tool(host, name):
    """Path of a host's own tool, which its wheel carries for mim."""
    spec = importlib.util.find_spec(host)
    path = Path(spec.origin).parent / f'.mim/tools/{name}.py' if spec else None
    if path is None or not path.is_file():
        pytest.skip(f'{host} is not installed with its tools')
    return path


@pytest.mark.slow
@pytest.mark.parametrize('task', HOSTS)
def test_the_hosts_train_and_test(task, tiny_config, tmp_path):
    """Two processes that import everything: half a minute."""
    config = tiny_config(task)
    train, test = (tool(HOSTS[task], name) for name in ('train', 'test'))
    run = [sys.executable, '-W', 'ignore']
    place = ['--work-dir', str(tmp_path)]
    done = subprocess.run(
        [*run, str(train), str(config), *place], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (checkpoint,) = (
        tmp_path / name
        for name in ('epoch_2.pth', 'iter_2.pth')
        if (tmp_path / name).is_file()
    )
    done = subprocess.run(
        [*run, str(test), str(config), str(checkpoint), *place],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize('task', HOSTS)
def test_the_hosts_inferencers(task, trained, tmp_path):
    config, weights = trained(task)
    photo = tmp_path / 'photo.jpg'
    cv2.imwrite(str(photo), np.full((90, 120, 3), 127, np.uint8))
    code = INFERENCERS[task].format(
        config=str(config), weights=str(weights), photo=str(photo)
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith('2' if task == 'seg' else '1')
