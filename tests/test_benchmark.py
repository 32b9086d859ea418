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
