"""The benchmark's arithmetic, and that it runs; times are no test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mnv2_mm.benchmark.pairs import (
    Contestant,
    Result,
    measure,
    records,
    table,
)
from mnv2_mm.benchmark.pictures import with_boxes_of_coco

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
    # 5 pictures in 0.4 and in 0.2 seconds
    rows = table([slow, fast], 5).splitlines()[1:]
    assert [row.split(' ms')[-1].split()[0] for row in rows] == ['12', '25']
    first, second = records([slow, fast])
    assert first['ratio'] == 1
    assert second['ratio'] == 4
    assert second['detail'] == 'one thread'


#: The tool, with fewer and smaller pictures.
QUICK = """
import runpy, sys
from mnv2_mm.benchmark import pictures
pictures.PICTURES, pictures.PHOTOS, pictures.PHOTO = 2, 1, (800, 600)
runpy.run_path('tools/benchmark.py', run_name='__main__')
"""


@pytest.mark.parametrize('what', ['infer', 'data'])
def test_the_tool_runs(what, tmp_path):
    pytest.importorskip('mmdet.models')
    pytest.importorskip('mmseg.models')
    pytest.importorskip('mmpretrain.models')
    path = tmp_path / 'times.json'
    command = ['-c', QUICK, what, '--rounds', '1', '--json', path]
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)
    parts = json.loads(path.read_text())['parts']
    assert all(len(results) >= 2 for results in parts.values())


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
