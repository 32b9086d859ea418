"""Every case of every sub-command can be made and run; times are no test."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

import torch
from mmengine.model import BaseModule

from mnv2_mm.api import predict
from mnv2_mm.benchmark import data, deploy, detectors, infer, programs, throughput
from mnv2_mm.benchmark.core import Case, Options, run_interleaved
from mnv2_mm.runtime import machine
from mnv2_mm.utils import compat
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64


def groups(cases: list[Case]) -> dict[tuple[str, int | None], list[str]]:
    found = {}
    for case in cases:
        found.setdefault((case.group, case.point), []).append(case.name)
    return found


@pytest.fixture
def tiny(monkeypatch, tmp_path) -> Options:
    """Small images, and few of them."""
    monkeypatch.setattr(throughput, 'SIDE', SIDE)
    monkeypatch.setattr(infer, 'CLASSIFICATION', 65)
    monkeypatch.setattr(infer, 'SEGMENTATION', 65)
    monkeypatch.setattr(throughput, 'TRAINED', (2,))
    monkeypatch.setattr(throughput, 'PREDICTED', (1,))
    monkeypatch.setattr(throughput, 'WARMUP', 0)
    monkeypatch.setattr(data, 'IMAGES', 2)
    monkeypatch.setattr(programs, 'PHOTOS', 2)
    monkeypatch.setattr(programs, 'COUNTS', (30,))
    monkeypatch.setattr(torch.nn.Module, 'compile', lambda self: None)
    # half of the time, and nothing here depends on it
    monkeypatch.setattr(BaseModule, 'init_weights', lambda self: None)
    return Options(batch_size=2, device='cpu', folder=tmp_path)


@pytest.mark.parametrize(
    'make',
    [
        throughput.train_cases,
        pytest.param(throughput.gpu_cases, marks=pytest.mark.slow),
        infer.infer_cases,
        data.data_cases,
        pytest.param(programs.programs_cases, marks=pytest.mark.slow),
        programs.datasets_cases,
    ],
)
def test_every_case_runs(tiny, make):
    cases = make(tiny)
    assert all(len(names) >= 2 for names in groups(cases).values())
    for case in cases:
        pickle.dumps(case)
        if 'timm' in case.name and not compat.installed('timm'):
            continue
        if 'bfloat16' in case.name and not machine.bfloat16_pays():
            with pytest.raises(InputError, match='bfloat16 is slow here'):
                case.make()
            continue
        case.make()()


def test_a_gpu_is_shared_by_cases_of_one_process(tiny):
    cases = throughput.gpu_cases(tiny)
    assert {case.processes for case in cases} == {0}
    assert [case.point for case in cases[:5]] == [2] * 4 + [1]
    (case,) = run_interleaved(cases[4:5], 1)
    assert case.times[0] > 0


@pytest.mark.parametrize('fast', [False, True])
def test_a_training_step_changes_the_weights(monkeypatch, fast):
    """Also in bfloat16, in which the forward pass alone computes."""
    monkeypatch.setenv(machine.FORCE_VARIABLE, '1')
    model = detectors.detector(ours=True, side=SIDE)
    monkeypatch.setattr(detectors, 'detector', lambda **kwargs: model)
    step = detectors.training_step(2, SIDE, fast=fast)
    before = [p.clone() for p in model.parameters()]
    step()
    after = list(model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in after)


def test_without_a_gpu_the_device_is_named():
    names = ['abacus'] if torch.cuda.is_available() else ['abacus', 'cuda:0']
    for name in names:
        with pytest.raises(InputError, match=f'--device {name} cannot be'):
            throughput.gpu_cases(Options(device=name))


def test_scaling_covers_batches_and_sides():
    cases = throughput.scaling_cases(Options(batch_size=8))
    found = groups(cases)
    assert len(found) == 2 * (len(throughput.BATCHES) + len(throughput.SIDES))
    for (_, point), names in found.items():
        assert len(names) >= 2 or point == 1
    assert {case.images for case in cases if case.point == 160} == {8}
    smallest = [case for case in cases if case.point in (1, 160)]
    for case in smallest:
        if case.name == 'mnv2_mm' and case.images == 1:
            case.make()()


@pytest.mark.slow
def test_two_processes_step_together():
    (case,) = (
        c for c in throughput.processes_cases(Options(batch_size=2)) if c.processes == 2
    )
    (case,) = run_interleaved([case], 1)
    assert case.times[0] > 0


# ----------------------------------------------------------- exported models
def test_the_detector_has_scores_like_a_trained_one(monkeypatch):
    model = deploy.spread_detector()
    photo = detectors.photo(3)
    monkeypatch.setattr(deploy, 'photo', lambda: photo)
    inputs = deploy.network_input(model)['inputs']
    with torch.no_grad():
        logits, _ = model.bbox_head(model.extract_feat(inputs))
    for level in logits[:2]:
        assert level.mean().item() == pytest.approx(-6, abs=1)
        assert level.std().item() == pytest.approx(2, abs=1)
    scores = predict(model, photo).pred_instances.scores
    assert len(scores) == 100
    assert scores[0] > scores[-1] + 0.1


@pytest.mark.slow
def test_exported_models_are_timed(tmp_path):
    for name in ('mmdeploy', 'onnxruntime', 'ncnn', 'onnx2tf', 'openvino'):
        pytest.importorskip(name)
    path = tmp_path / 'times.json'
    command = ['tools/benchmark.py', 'deploy', '--rounds', '1', '--json', path]
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)
    results = json.loads(path.read_text())['results']
    names = [found['name'] for found in results if 'SSDLite' in found['group']]
    backends = [
        f'{name} fp32' for name in ('onnxruntime', 'ncnn', 'openvino', 'litert')
    ]
    assert names == ['PyTorch, eager', *backends]
