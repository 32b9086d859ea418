"""tools/test.py: figures, images, predictions; a checkpoint must fit."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch

from mnv2_mm.engine import fast_inference
from mnv2_mm.engine.fast_inference import make_fast

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
    images = [p for p in Path('images').rglob('*') if p.suffix in ('.jpg', '.png')]
    assert len(images) >= 8
    assert cv2.imread(str(images[0])) is not None
    assert 'written to run/metrics.json' in capfd.readouterr().out


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_time_augmentation(
    trained: Trained, run_tool: Tool, tmp_path: Path, task: str
) -> None:
    config, checkpoint = trained(task)
    flags = ['--work-dir', tmp_path, '--tta']
    assert run_tool('test', config, checkpoint, *flags) == 0
    result = json.loads((tmp_path / 'metrics.json').read_text())
    assert KEYS[task] in result['metrics']


@pytest.mark.parametrize('task', ['det', 'cls'])
@pytest.mark.parametrize('flags', [['--fast'], ['--half', '--tta']])
def test_the_fast_network_is_evaluated(
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    flags: list[str],
) -> None:
    made = []

    def spy(model: torch.nn.Module, *, half: bool) -> torch.nn.Module:
        made.append((model, half))
        return make_fast(model, half=half)

    monkeypatch.setattr(fast_inference, 'make_fast', spy)
    config, checkpoint = trained(task)
    figures = {}
    for name, how in dict(plain=flags[1:], fast=flags).items():
        place = ['--work-dir', tmp_path / name]
        assert run_tool('test', config, checkpoint, *place, *how) == 0
        result = json.loads((tmp_path / name / 'metrics.json').read_text())
        figures[name] = result['metrics']
    ((model, half),) = made
    assert half == ('--half' in flags)
    assert model.backbone.forward.seen  # it was run, and not the wrapper
    if not half:
        assert figures['fast'] == pytest.approx(figures['plain'], abs=0.01)


@pytest.mark.parametrize('flag', ['tta', 'fast', 'half'])
def test_builds_are_what_they_are(
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    flag: str,
) -> None:
    config, _ = trained('cls')
    (tmp_path / 'model.json').write_text('{}')
    assert run_tool('test', config, tmp_path, f'--{flag}') == 2
    said = capfd.readouterr().err
    assert f'--{flag} is for checkpoints, and this is a build' in said


def test_missing_and_foreign_checkpoints(
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
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
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
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
