"""tools/train.py --tensorboard, --wandb, --mlflow: mmengine's backends by one flag."""

import contextlib
import copy
import sqlite3
from argparse import Namespace
from pathlib import Path

import pytest

from mnv2_mm.commands import train
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

#: Flag: its backend, and files that a training leaves in its work dir.
TRACKERS = {
    'tensorboard': ('TensorboardVisBackend', '*/vis_data/events.out.tfevents.*'),
    'wandb': ('WandbVisBackend', '*/vis_data/wandb/offline-run-*'),
    'mlflow': ('MLflowVisBackend', 'mlflow.db'),
}


@pytest.fixture
def config():
    cfg = copy.deepcopy(get_config('ssdlite_sample'))
    cfg.work_dir = 'work_dirs/x'
    return cfg


def flags(*chosen):
    return Namespace(**{name: name in chosen for name in TRACKERS})


@pytest.mark.parametrize('name', TRACKERS)
def test_a_flag_adds_its_backend_once(monkeypatch, config, name):
    monkeypatch.setattr(train, 'installed', lambda module: True)
    for _ in range(2):
        train._add_trackers(config, flags(name))
    types = [entry['type'] for entry in config.visualizer.vis_backends]
    assert types == ['LocalVisBackend', TRACKERS[name][0]]


def test_a_config_without_a_visualizer(config):
    config.pop('visualizer')
    train._add_trackers(config, flags())
    assert config.visualizer.type == 'Visualizer'
    assert [e['type'] for e in config.visualizer.vis_backends] == ['LocalVisBackend']


@pytest.mark.parametrize('name', TRACKERS)
def test_missing_package(monkeypatch, config, name):
    monkeypatch.setattr(train, 'installed', lambda module: False)
    with pytest.raises(InputError, match=f'--{name} .*pip install {name}'):
        train._add_trackers(config, flags(name))


@pytest.mark.slow
@pytest.mark.parametrize('name', TRACKERS)
def test_training_leaves_records(tiny_config, run_tool, tmp_path, monkeypatch, name):
    pytest.importorskip(name)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    assert (
        run_tool('train', tiny_config('cls'), '--work-dir', tmp_path, f'--{name}') == 0
    )
    (record,) = tmp_path.glob(TRACKERS[name][1])
    assert list(tmp_path.glob('*/vis_data/scalars.json'))
    if name == 'mlflow':
        with contextlib.closing(sqlite3.connect(record)) as base:
            keys = {key for (key,) in base.execute('SELECT key FROM metrics')}
        assert {'loss', 'accuracy/top1'} <= keys
        assert list((tmp_path / 'mlruns').rglob('*.py'))
        assert not Path('mlruns').exists()
