"""tools/train.py --tensorboard, --wandb, --mlflow: mmengine's backends by one flag."""

from argparse import Namespace

import pytest

from mnv2_mm.commands import train
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

#: Flag: its backend, and files that a training leaves in vis_data.
TRACKERS = {
    'tensorboard': ('TensorboardVisBackend', 'events.out.tfevents.*'),
    'wandb': ('WandbVisBackend', 'wandb/offline-run-*'),
    'mlflow': ('MLflowVisBackend', '*/*/metrics/loss'),
}


def flags(*chosen):
    return Namespace(**{name: name in chosen for name in TRACKERS})


@pytest.mark.parametrize('name', TRACKERS)
def test_a_flag_adds_its_backend_once(monkeypatch, name):
    monkeypatch.setattr(train, 'installed', lambda module: True)
    cfg = get_config('ssdlite_sample')
    for _ in range(2):
        train._add_trackers(cfg, flags(name))
    types = [entry['type'] for entry in cfg.visualizer.vis_backends]
    assert types == ['LocalVisBackend', TRACKERS[name][0]]


def test_a_config_without_a_visualizer():
    cfg = get_config('ssdlite_sample')
    del cfg['visualizer']
    train._add_trackers(cfg, flags())
    assert cfg.visualizer.type == 'Visualizer'
    assert [e['type'] for e in cfg.visualizer.vis_backends] == ['LocalVisBackend']


@pytest.mark.parametrize('name', TRACKERS)
def test_missing_package(monkeypatch, name):
    monkeypatch.setattr(train, 'installed', lambda module: False)
    with pytest.raises(InputError, match=f'--{name} .*pip install {name}'):
        train._add_trackers(get_config('ssdlite_sample'), flags(name))


@pytest.mark.slow
@pytest.mark.parametrize('name', TRACKERS)
def test_training_leaves_records(tiny_config, run_tool, tmp_path, monkeypatch, name):
    pytest.importorskip(name)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    config = tiny_config('cls', 'train_cfg = dict(max_epochs=1)')
    assert run_tool('train', config, '--work-dir', tmp_path, f'--{name}') == 0
    (folder,) = tmp_path.glob('*/vis_data')
    assert list(folder.glob(TRACKERS[name][1]))
    assert (folder / 'scalars.json').is_file()
