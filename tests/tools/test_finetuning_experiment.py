"""tools/finetuning_experiment.py: the configs that it compares, and its table."""

import argparse
import importlib.util
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mnv2_mm.datasets.own.writer import TEMPLATES, fill_block
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location(
    'finetuning_experiment', ROOT / 'tools/finetuning_experiment.py'
)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def prepared(folder, task, start):
    """The config of `mnv2 data`, without its data set."""
    text = (ROOT / f'configs/examples/{TEMPLATES[task]}.py').read_text()
    classes = {'classes': ('a', 'b', 'c')}
    (folder / 'mine.py').write_text(fill_block(text, classes | {'start': start}))
    return argparse.Namespace(
        data=folder, out=folder / 'out', kinds=list(tool.KINDS), epochs=None
    )


@pytest.mark.parametrize('task', TEMPLATES)
def test_the_kinds_differ_in_start_and_network_alone(tmp_path, task):
    args = prepared(tmp_path, task, '{{ fileDirname }}/start.pth')
    args.out.mkdir()
    tool.write_configs(args)
    published, random, host = (
        Config.fromfile(args.out / f'{kind}.py') for kind in tool.KINDS
    )
    assert published.load_from == str(tmp_path / 'start.pth')
    assert random.load_from is None and host.load_from is None
    assert random.model == published.model
    for name in ('max_epochs', 'batch_size', 'lr', 'param_scheduler', 'val_evaluator'):
        assert published[name] == random[name] == host[name]
    init_default_scope(host_of(host))
    model = MODELS.build(host.model)
    assert type(model.backbone).__name__ == 'MobileNetV2'
    assert type(model.backbone).__module__.startswith(host.default_scope)
    head = getattr(model, 'bbox_head', getattr(model, 'decode_head', None))
    assert (head or model.head).num_classes == 3
    # mmdet's own head has none, and cannot predict without
    assert task != 'det' or hasattr(model.bbox_head, 'loss_cls')


def test_a_random_start_is_no_published_one(tmp_path):
    with pytest.raises(InputError, match='random weights'):
        tool.write_configs(prepared(tmp_path, 'cls', None))


def test_trainings_of_another_length_do_not_mix(tmp_path, monkeypatch):
    args = prepared(tmp_path, 'cls', 'start.pth')
    monkeypatch.setattr(tool, 'images', lambda cfg: 640)
    for args.epochs in (2, 3):  # nothing is trained yet
        tool.write_configs(args)
    before = {path: path.read_bytes() for path in args.out.glob('*.py')}
    (args.out / 'random_seed0').mkdir()
    (args.out / 'random_seed0/result.json').touch()
    tool.write_configs(args)
    args.epochs, args.kinds = 30, ['published']
    with pytest.raises(InputError, match='another --out'):
        tool.write_configs(args)
    assert {path: path.read_bytes() for path in args.out.glob('*.py')} == before


def test_the_table_has_a_line_a_kind():
    runs = [
        dict(kind=kind, seed=seed, best=best + seed / 100, processor_seconds=60)
        for kind, best in (('published', 0.5), ('host', 0.3))
        for seed in (0, 1)
    ]
    assert tool.summary(runs).splitlines()[2:] == [
        '| published | 0.500 | 0.510 | 0.505 (0.500 to 0.510) | 1.0 min |',
        '| host | 0.300 | 0.310 | 0.305 (0.300 to 0.310) | 1.0 min |',
    ]


@pytest.mark.parametrize(
    ('flags', 'config', 'message'),
    [
        (['--seeds', '0'], None, '--seeds and --epochs must be at least 1'),
        (['--epochs', '0'], None, '--seeds and --epochs must be at least 1'),
        ([], None, 'must hold one config'),
        ([], "default_scope = 'mmdet'", 'is not of `mnv2 data`'),
        ([], "_base_ = 'nowhere.py'", 'inherits from a file that is not there'),
    ],
)
def test_bad_input_is_one_message(tmp_path, run_tool, capfd, flags, config, message):
    if config:
        (tmp_path / 'own.py').write_text(config)
    out = tmp_path / 'out'
    assert run_tool('finetuning_experiment', tmp_path, '--out', out, *flags) == 2
    assert message in capfd.readouterr().err
    assert not out.exists()
