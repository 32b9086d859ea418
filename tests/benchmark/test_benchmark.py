"""The benchmark's arithmetic, and that it runs; times are no test."""

import argparse
import functools
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnv2_mm.benchmark.images import with_boxes_of_coco
from mnv2_mm.benchmark.pairs import (
    Contestant,
    Result,
    measure,
    records,
    table,
)
from mnv2_mm.benchmark.plot import _sort, draw
from mnv2_mm.benchmark.processes import apart, ranks
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_contestants_run_in_turn():
    calls = []

    def contestant(name):
        return Contestant(name, lambda: lambda: calls.append(name))

    results = measure([contestant('a'), contestant('b')], rounds=2, warmup=1, repeats=2)
    assert ''.join(calls) == 'ab' + 'aabb' * 2
    assert [len(result.seconds) for result in results] == [2, 2]


def test_ratios_are_taken_within_a_round():
    """A machine that halves its speed changes no ratio."""
    slow = Result('slow', '', [0.4, 0.8, 0.4])
    fast = Result('fast', 'one thread', [0.1, 0.2, 0.2])
    assert fast.ratios(slow) == pytest.approx([4, 4, 2])
    assert fast.median == pytest.approx(200)
    assert '4.00 (2.00 to 4.00)' in table([slow, fast])
    # 5 images in 0.4 and in 0.2 seconds
    rows = table([slow, fast], 5).splitlines()[1:]
    assert [row.split(' ms')[-1].split()[0] for row in rows] == ['12', '25']
    first, second = records([slow, fast])
    assert first['ratio'] == 1
    assert second['ratio'] == 4
    assert second['detail'] == 'one thread'


def _part(times):
    return [
        dict(name=name, milliseconds=[t, t + 1], median=t + 0.5)
        for name, t in times.items()
    ]


def test_what_grows_is_drawn_over_what_it_grows_with():
    parts = {
        f'training, {side} px, batch {batch}': _part({'ours': 1000 * batch})
        for side, batch in [(320, 1), (320, 2), (320, 4), (160, 4), (640, 4)]
    }
    curves, bars = _sort({**parts, 'one photo': _part({'ours': 5})})
    assert list(bars) == ['one photo']
    by_batch, by_side = curves.values()
    assert list(by_batch['ours']) == [1, 2, 4]
    assert list(by_side['ours']) == [320, 160, 640]
    assert by_side['ours'][160] == pytest.approx(1, abs=1e-3)


def test_a_image_is_written(tmp_path):
    parts = {
        'network, 320 px, batch 1': _part({'theirs': 9, 'ours': 3}),
        'network, 320 px, batch 2': _part({'ours': 5}),
        'one photo': _part({'theirs': 9, 'ours': 3}),
    }
    path = tmp_path / 'times.png'
    draw(dict(machine='a machine', date='today', parts=parts), path)
    assert path.read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
def test_processes_step_together():
    pytest.importorskip('mmdet.models')
    step = ranks(2, 1)()
    step()
    children = multiprocessing.active_children()
    assert len(children) >= 2
    del step  # closes the pipes
    for child in children:
        child.join(60)
        assert child.exitcode == 0


def test_growth_covers_batches_and_sides():
    pytest.importorskip('mmdet.models')
    from mnv2_mm.benchmark.growth import BATCHES, SIDES, parts

    found = parts(argparse.Namespace(batch_size=8, threads=1))
    assert len(found) == 2 * (len(BATCHES) + len(SIDES)) + 1
    smallest = [p for p in found if p.title == 'training, 160 px, batch 8']
    (peer, *_) = smallest[0].contestants
    assert peer.name.startswith('mmdet')


#: The tool, with fewer and smaller images, and fewer processes.
QUICK = """
import runpy, sys
from mnv2_mm.benchmark import images, processes
processes.FORMS = {', half': {'half': True}}
images.PICTURES, images.PHOTOS, images.PHOTO = 2, 1, (800, 600)
runpy.run_path('tools/benchmark.py', run_name='__main__')
"""


@pytest.mark.parametrize('what', ['infer', 'data'])
def test_the_tool_runs(what, tmp_path):
    pytest.importorskip('mmdet.models')
    pytest.importorskip('mmseg.models')
    pytest.importorskip('mmpretrain.models')
    path, png = tmp_path / 'times.json', tmp_path / 'times.png'
    command = ['-c', QUICK, what, '--rounds', '1']
    command += ['--json', path, '--png', png]
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)
    parts = json.loads(path.read_text())['parts']
    assert all(len(results) >= 2 for results in parts.values())
    assert png.stat().st_size > 10000


#: The GPU's part on the processor: fewer batches, nothing compiled.
ON_CPU = """
import runpy, torch
from mnv2_mm.engine import launch
launch.filter_warnings()
from mnv2_mm.benchmark import gpu
gpu.BATCHES, gpu.PREDICTED, gpu.WARMUP = (2, 3), (1,), 1
torch.nn.Module.compile = lambda self: None
runpy.run_path('tools/benchmark.py', run_name='__main__')
"""


def test_the_part_for_gpus_runs_on_a_processor(tmp_path):
    pytest.importorskip('mmdet.models')
    path = tmp_path / 'times.json'
    command = [sys.executable, '-c', ON_CPU, 'gpu', '--device', 'cpu']
    command += ['--rounds', '1', '--json', str(path)]
    command += ['--profile', '--batch-size', '2']
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    parts = json.loads(path.read_text())['parts']
    assert list(parts)[:2] == ['training, batch 2', 'training, batch 3']
    assert all(len(results) >= 3 for results in parts.values())
    best = [line for line in done.stdout.splitlines() if 'at best' in line]
    assert len(best) == 4
    assert best[0].endswith('1.00 times the first')
    assert 'GB/s in a copy' in done.stdout


def test_without_a_gpu_it_says_so():
    pytest.importorskip('mmdet.models')
    import torch

    from mnv2_mm.benchmark.gpu import parts

    names = ['abacus', 'cuda:0']
    if torch.cuda.is_available():
        names.pop()
    for name in names:
        with pytest.raises(InputError, match=f'--device {name} cannot be'):
            parts(argparse.Namespace(device=name))


@pytest.mark.parametrize(
    'make',
    [
        functools.partial(sys.exit, 3),  # before there is anything to run
        functools.partial(functools.partial, sys.exit, 3),
    ],
)
def test_a_process_that_ends_is_one_message(make):
    run = apart(make)()
    with pytest.raises(InputError, match="a contestant's process ended"):
        run()


def test_the_best_batch_counts():
    pytest.importorskip('mmdet.models')
    from mnv2_mm.benchmark.gpu import conclude

    def results(*seconds):
        names = ('theirs', 'ours')
        return [Result(n, '', [s]) for n, s in zip(names, seconds, strict=True)]

    said = conclude(
        {
            'training, batch 10': results(1, 0.25),
            'training, batch 40': results(2, 2),
            'network, batch 1': results(1, 0.001),
        }
    )
    theirs, ours = said.splitlines()
    assert 'theirs: at best 20 images/s, with a batch of 40; 1.00' in theirs
    assert 'ours: at best 40 images/s, with a batch of 10; 2.00' in ours
    assert 'no batch' in conclude({})


def test_the_boxes_are_as_many_and_as_large_as_those_of_coco(tmp_path):
    images = [dict(id=number) for number in range(1, 301)]
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(dict(images=images, annotations=[])))
    boxes = json.loads(with_boxes_of_coco(path).read_text())
    boxes = boxes['annotations']
    assert len(boxes) / len(images) == pytest.approx(7.3, rel=0.05)
    area = [box['area'] for box in boxes]
    small = sum(a < 32**2 for a in area) / len(area)
    medium = sum(32**2 <= a < 96**2 for a in area) / len(area)
    assert small == pytest.approx(0.41, abs=0.03)
    assert medium == pytest.approx(0.34, abs=0.03)
    for box in boxes:
        left, top, width, height = box['bbox']
        assert left >= 0 and left + width <= 640 + 1e-6
        assert top >= 0 and top + height <= 480 + 1e-6
        assert 0.49 < width / height < 2.01 or height > 479


def test_a_pause_is_not_part_of_the_time():
    results = measure([Contestant('a', lambda: lambda: None)], rounds=2, pause=0.05)
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

    from mnv2_mm.api import predict, prepare
    from mnv2_mm.benchmark import deploy

    model = deploy.spread_detector()
    inputs = deploy.pixels(model, [prepare(model, deploy.image(3))])
    with torch.no_grad():
        logits, _ = model.bbox_head(model.extract_feat(inputs))
    for level in logits[:2]:
        assert level.mean().item() == pytest.approx(-6, abs=1)
        assert level.std().item() == pytest.approx(2, abs=1)
    scores = predict(model, deploy.image(3)).pred_instances.scores
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
