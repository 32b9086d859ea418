"""The benchmark's arithmetic, and that it runs; times are no test."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnv2_mm.benchmark.pairs import (
    Contestant,
    Result,
    measure,
    records,
    table,
)
from mnv2_mm.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def test_contestants_run_in_turn():
    calls = []

    def contestant(name):
        return Contestant(name, lambda: lambda: calls.append(name))

    results = measure(
        [contestant('a'), contestant('b')], rounds=2, warmup=1, repeats=2
    )
    assert ''.join(calls) == 'ab' + 'aabb' * 2
    assert [len(result.seconds) for result in results] == [2, 2]


def test_ratios_are_taken_within_a_round():
    """A machine that halves its speed changes no ratio."""
    slow = Result('slow', '', [0.4, 0.8, 0.4])
    fast = Result('fast', 'one thread', [0.1, 0.2, 0.2])
    assert fast.ratios(slow) == pytest.approx([4, 4, 2])
    assert fast.median == pytest.approx(200)
    assert '4.00 (2.00 to 4.00)' in table([slow, fast])
    first, second = records([slow, fast])
    assert first['ratio'] == 1
    assert second['ratio'] == 4
    assert second['detail'] == 'one thread'


def test_the_tool_runs(tmp_path):
    pytest.importorskip('mmdet.models')
    pytest.importorskip('mmpretrain.models')
    path = tmp_path / 'times.json'
    command = ['tools/benchmark.py', 'infer', '--rounds', '1', '--json', path]
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)
    parts = json.loads(path.read_text())['parts']
    assert all(len(results) >= 2 for results in parts.values())


def test_a_pause_is_not_part_of_the_time():
    results = measure(
        [Contestant('a', lambda: lambda: None)], rounds=2, pause=0.05
    )
    assert max(results[0].seconds) < 0.04


# ---------------------------------------------------------------- builds
@pytest.fixture
def bench(tmp_path):
    for name in ('mmdeploy', 'mmdet.models', 'mmpretrain.models'):
        pytest.importorskip(name)
    from mnv2_mm.benchmark.deploy import Bench

    return Bench(tmp_path, threads=1)


def test_what_cannot_be_run_is_a_line(bench, capfd):
    def no():
        raise InputError('the file is not there')

    found = bench.available({'first': lambda: str, 'second': no})
    assert [one.name for one in found] == ['first']
    assert found[0].prepare() is str
    said = capfd.readouterr().out
    assert said == 'left out: second: the file is not there\n'


def test_a_part_of_one_is_left_out(bench, monkeypatch, capfd):
    from mnv2_mm.benchmark import deploy

    two = {'a': lambda: str, 'b': lambda: str}
    chosen = {'alone': lambda _: {'a': lambda: str}, 'both': lambda _: two}
    monkeypatch.setattr(deploy, '_PARTS', chosen)
    (part,) = deploy.parts(SimpleNamespace(threads=1))
    assert part.title == 'both'
    assert part.pause > 0
    assert 'left out: alone' in capfd.readouterr().out


def test_tflite_without_its_runtime(bench, monkeypatch, tmp_path):
    from mnv2_mm.benchmark import deploy

    monkeypatch.setattr(deploy.compat, 'installed', lambda name: False)
    with pytest.raises(InputError, match='pip install ai-edge-litert'):
        deploy.tflite(tmp_path / 'a.tflite', 1)


def test_the_detector_has_scores_like_a_trained_one(bench):
    import torch

    from mnv2_mm.apis import predict, prepare
    from mnv2_mm.benchmark import deploy

    model = deploy.spread_detector()
    inputs = deploy.pixels(model, [prepare(model, deploy.picture(3))])
    with torch.no_grad():
        logits, _ = model.bbox_head(model.extract_feat(inputs))
    for level in logits[:2]:
        assert level.mean().item() == pytest.approx(-6, abs=1)
        assert level.std().item() == pytest.approx(2, abs=1)
    scores = predict(model, deploy.picture(3)).pred_instances.scores
    assert len(scores) == 100
    assert scores[0] > scores[-1] + 0.1


@pytest.mark.slow
def test_builds_are_timed(tmp_path):
    for name in ('mmdeploy', 'onnxruntime', 'ncnn', 'ai_edge_litert'):
        pytest.importorskip(name)
    path = tmp_path / 'times.json'
    command = ['tools/benchmark.py', 'deploy', '--rounds', '1', '--json', path]
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)
    parts = json.loads(path.read_text())['parts']
    (detection,) = (parts[title] for title in parts if 'SSDLite' in title)
    names = [result['name'] for result in detection]
    assert names == ['PyTorch, eager', 'onnxruntime fp32', 'ncnn fp32']
