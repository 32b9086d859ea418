"""tools/test.py: figures, images, predictions; a checkpoint must fit."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mnv2_mm.engine import optimized_inference
from mnv2_mm.engine.optimized_inference import optimize_for_inference
from mnv2_mm.engine.progress import scalars
from mnv2_mm.runtime.machine import FORCE_VARIABLE

Tool = Callable[..., int]
Trained = Callable[[str], tuple[Path, Path]]
KEYS = {'det': 'coco/bbox_mAP', 'seg': 'mIoU', 'cls': 'accuracy/top1'}


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_writes_figures_images_and_predictions(
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
    task: str,
) -> None:
    config, checkpoint = trained(task)
    monkeypatch.chdir(tmp_path)
    flags = ['--out', 'deep/er/out.pkl', '--show-dir', 'images']
    code = run_tool('test', config, checkpoint, '--work-dir', 'run', *flags)
    assert code == 0
    result = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert KEYS[task] in result['metrics']
    assert result['checkpoint'] == str(checkpoint)
    with open('deep/er/out.pkl', 'rb') as file:
        assert len(pickle.load(file)) >= 8
    images = list(Path('images').glob('*.jpg'))
    assert len(images) >= 8
    height, width, _ = cv2.imread(str(images[0])).shape
    assert width > 1.5 * height  # ground truth and prediction
    assert 'written to run/metrics.json' in capfd.readouterr().out


@pytest.mark.parametrize(
    'task',
    [
        'det',
        'seg',
        # evaluated so in bfloat16 below
        pytest.param('cls', marks=pytest.mark.slow),
    ],
)
def test_time_augmentation(
    trained: Trained, run_tool: Tool, tmp_path: Path, task: str
) -> None:
    config, checkpoint = trained(task)
    flags = ['--work-dir', tmp_path, '--tta']
    assert run_tool('test', config, checkpoint, *flags) == 0
    result = json.loads((tmp_path / 'metrics.json').read_text())
    assert KEYS[task] in result['metrics']


@pytest.mark.parametrize(
    ('task', 'flags'),
    [
        # tests/engine/test_optimized_inference.py compares the detector's outputs
        pytest.param('det', ['--optimize'], marks=pytest.mark.slow),
        ('cls', ['--optimize']),
        ('cls', ['--dtype=bfloat16', '--tta']),
        pytest.param('det', ['--dtype=bfloat16', '--tta'], marks=pytest.mark.slow),
    ],
)
def test_the_optimized_network_is_evaluated(
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    flags: list[str],
) -> None:
    made = []

    monkeypatch.setenv('MNV2_MM_CACHE', str(tmp_path))
    monkeypatch.setenv(FORCE_VARIABLE, '1')

    def spy(model: torch.nn.Module, dtype: str) -> torch.nn.Module:
        made.append((model, dtype))
        return optimize_for_inference(model, dtype)

    monkeypatch.setattr(optimized_inference, 'optimize_for_inference', spy)
    config, checkpoint = trained(task)
    figures = {}
    bfloat16 = '--dtype=bfloat16' in flags
    runs = {'optimized': flags} | ({} if bfloat16 else {'eager': flags[1:]})
    for name, how in runs.items():
        place = ['--work-dir', tmp_path / name, '--limit', 3]
        assert run_tool('test', config, checkpoint, *place, *how) == 0
        result = json.loads((tmp_path / name / 'metrics.json').read_text())
        figures[name] = result['metrics']
    ((model, dtype),) = made
    assert dtype == ('bfloat16' if bfloat16 else 'float32')
    head = model.bbox_head if task == 'det' else model.head
    assert head.forward.calls  # it was run, and not the wrapper
    (log,) = (tmp_path / 'optimized').glob('*/*.log')
    assert f'optimized for inference in {dtype} on' in log.read_text()
    if not bfloat16:
        assert figures['optimized'] == pytest.approx(figures['eager'], abs=0.01)


@pytest.fixture
def averaged(trained: Trained, tmp_path: Path) -> tuple[Path, Path]:
    """A trained classifier with hooks of a training, whose training set is gone."""
    config, checkpoint = trained('cls')
    own = tmp_path / f'{config.stem}.py'
    own.write_text(f"""
_base_ = {str(config)!r}
train_dataloader = dict(dataset=dict(data_root='nowhere'))
custom_hooks = [
    dict(type='EMAHook'),
    dict(type='EarlyStoppingHook', monitor='accuracy/top1'),
]
""")
    state = torch.load(checkpoint, weights_only=False)
    raw = {
        f'module.{key}': torch.zeros_like(x) for key, x in state['state_dict'].items()
    }
    state['ema_state_dict'] = {**raw, 'steps': torch.tensor(9)}
    torch.save(state, tmp_path / 'epoch_1.pth')
    return own, tmp_path / 'epoch_1.pth'


@pytest.mark.parametrize('flags', [[], ['--tta'], ['--optimize']])
def test_hooks_of_a_training_leave_an_evaluation_alone(
    averaged: tuple[Path, Path],
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    flags: list[str],
) -> None:
    figures = []
    for n, (config, checkpoint) in enumerate((averaged, trained('cls'))):
        place = tmp_path / str(n)
        assert run_tool('test', config, checkpoint, '--work-dir', place, *flags) == 0
        figures.append(json.loads((place / 'metrics.json').read_text())['metrics'])
    assert figures[0] == figures[1]


def test_hooks_of_a_training_do_not_turn_the_guard_off(
    averaged: tuple[Path, Path],
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
) -> None:
    config, other = averaged[0], trained('seg')[1]
    assert run_tool('test', config, other, '--work-dir', tmp_path) == 2
    assert 'error: ' in capfd.readouterr().err


def test_the_config_of_a_training_stays(
    averaged: tuple[Path, Path], run_tool: Tool, tmp_path: Path
) -> None:
    config, checkpoint = averaged
    before = config.read_text()
    flags = ['--work-dir', tmp_path, '--tta', '--limit', 3]
    assert run_tool('test', config, checkpoint, *flags) == 0
    assert config.read_text() == before


def test_metrics_that_are_no_number_are_left_out(
    trained: Trained, run_tool: Tool, tmp_path: Path
) -> None:
    config, checkpoint = trained('cls')
    metrics = "[dict(type='Accuracy', topk=(1,)), dict(type='ConfusionMatrix')]"
    own = tmp_path / 'own.py'
    own.write_text(f'_base_ = {str(config)!r}\ntest_evaluator = {metrics}\n')
    assert run_tool('test', own, checkpoint, '--work-dir', tmp_path) == 0
    result = json.loads((tmp_path / 'metrics.json').read_text())
    assert list(result['metrics']) == ['accuracy/top1']
    lists = dict(a=[0.5, 1], b=torch.zeros(2, 2), c=None, d='x', e=np.float32(0.5))
    assert scalars(lists) == dict(e=0.5)


@pytest.mark.parametrize('flag', ['--tta', '--optimize', '--dtype=bfloat16'])
def test_flags_of_checkpoints_are_refused_for_exported_models(
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    flag: str,
) -> None:
    config, _ = trained('cls')
    (tmp_path / 'model.json').write_text('{}')
    assert run_tool('test', config, tmp_path, flag) == 2
    said = capfd.readouterr().err
    assert f'{flag.partition("=")[0]} is for checkpoints' in said


def test_missing_and_foreign_checkpoints(
    trained: Trained, run_tool: Tool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    config, _ = trained('cls')
    flags = ['--work-dir', tmp_path]
    assert run_tool('test', config, tmp_path / 'none.pth', *flags) == 2
    assert 'there is no checkpoint' in capfd.readouterr().err
    _, other = trained('seg')
    assert run_tool('test', config, other, *flags) == 2
    error = capfd.readouterr().err
    assert f'error: {other} does not fit' in error or 'another model' in error
    assert 'Traceback' not in error


def test_other_class_count_names_the_classes(
    trained: Trained, run_tool: Tool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    config, checkpoint = trained('cls')
    state = torch.load(checkpoint, weights_only=False)
    for key, value in state['state_dict'].items():
        if key.startswith('head.'):
            state['state_dict'][key] = value[:3].clone()
    state['meta']['dataset_meta'] = {'classes': ('cat', 'dog', 'owl')}
    torch.save(state, tmp_path / 'three.pth')
    path = tmp_path / 'three.pth'
    assert run_tool('test', config, path, '--work-dir', tmp_path) == 2
    error = capfd.readouterr().err
    assert '3 classes (cat, dog, owl)' in error
    assert 'the config has 5 (circle, ring,' in error
