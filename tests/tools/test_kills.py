"""Trainings of real configs, killed at random moments, lose nothing.

``pytest -m slow tests/tools/test_kills.py``; MNV2_MM_KILL_SEED repeats a run.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.resume import best_checkpoint, latest_checkpoint
from mnv2_mm.utils.curves import read_curves

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'train.py'
#: Appended to the tiny configs: an average, and augmentation in workers.
_EXTRA = """
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='mnv2_mm.TFExponentialMovingAverage',
        decay=0.9,
        update_buffers=False,
    )
]
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, T_max=40)]
train_dataloader.update(batch_size=4, num_workers={workers})
train_dataloader.update(persistent_workers={persistent})
train_cfg = dict({length})
default_hooks['checkpoint'].update(interval={interval}, max_keep_ckpts=2)
"""


def start(config: Path, work_dir: Path) -> subprocess.Popen:
    python_path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    one_thread = {'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    return subprocess.Popen(
        [sys.executable, TOOL, config, '--work-dir', work_dir, '--resume'],
        env=os.environ | {'PYTHONPATH': python_path} | one_thread,
        stdout=Path(f'{work_dir}.log').open('a'),
        stderr=subprocess.STDOUT,
    )


def steps(work_dir: Path) -> int:
    """Steps that all starts recorded, also those done twice."""
    files = work_dir.glob('*/vis_data/scalars.json')
    return sum(file.read_text().count('"lr"') for file in files)


_BY_EPOCH = "type='EpochBasedTrainLoop', max_epochs={}"
_BY_ITER = "type='IterBasedTrainLoop', max_iters=40, val_interval=4"
_WORKERS = dict(workers=2, persistent=True)
_ALONE = dict(workers=0, persistent=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('task', 'settings'),
    [
        ('det', dict(_WORKERS, length=_BY_EPOCH.format(10), interval=1)),
        ('seg', dict(_WORKERS, length=_BY_ITER, interval=3)),
        ('cls', dict(_ALONE, length=_BY_EPOCH.format(10), interval=1)),
    ],
)
def test_ten_kills_change_nothing(
    tiny_config: Callable[..., Path], tmp_path: Path, task: str, settings: dict
) -> None:
    seed = int(os.environ.get('MNV2_MM_KILL_SEED') or time.time_ns() % 10**9)
    print(f'MNV2_MM_KILL_SEED={seed}')
    rng = random.Random(seed)
    config = tiny_config(task, _EXTRA.format(**settings), f'killed_{task}')
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    process = start(config, whole)
    assert process.wait() == 0, Path(f'{whole}.log').read_text()
    total = steps(whole)
    kills = 0
    while True:
        process = start(config, cut)
        before, wanted = steps(cut), rng.randint(0, 2 * total // 10)
        while process.poll() is None and kills < 10:
            time.sleep(0.01)
            if steps(cut) - before >= wanted and (wanted or rng.random() < 0.003):
                time.sleep(rng.uniform(0, 0.5))  # in a step, a save, a validation
                if process.poll() is None:
                    kills += 1
                    process.send_signal(signal.SIGKILL)
                    process.wait()
        if process.wait() != -signal.SIGKILL:
            break
    assert process.returncode == 0, Path(f'{cut}.log').read_text()
    print(f'{kills} kills; {steps(cut)} steps for {total}')
    assert kills >= 5
    assert_same_training(cut, whole)


def assert_same_training(cut: Path, whole: Path) -> None:
    """Weights, average, optimizer, schedule, losses, metrics, best."""
    one, other = (read_curves(folder) for folder in (cut, whole))
    assert one.train['loss'] == other.train['loss']
    assert one.metrics == other.metrics
    states = []
    for folder in (cut, whole):
        path, _ = latest_checkpoint(str(folder))
        states.append((Path(path).name, read(path)))
    (name, state), (other_name, other_state) = states
    assert name == other_name
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert flat(state[part]) == flat(other_state[part]), part
    best, other_best = (
        best_checkpoint(str(folder), content)
        for folder, content in ((cut, state), (whole, other_state))
    )
    assert best[1] == other_best[1]
    assert Path(best[0]).name == Path(other_best[0]).name
    weights = read(best[0])['state_dict']
    assert flat(weights) == flat(read(other_best[0])['state_dict'])


def flat(content: object) -> str:
    """Every value, to the last bit."""

    def plain(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return value.double().tolist()
        return repr(value)

    return json.dumps(_map(plain, content))


def _map(function: Callable, node: object) -> object:
    if isinstance(node, dict):
        return {str(k): _map(function, v) for k, v in node.items()}
    if isinstance(node, list | tuple):
        return [_map(function, v) for v in node]
    return function(node)
