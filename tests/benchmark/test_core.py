"""Cases are measured in turn, in processes of their own, and compared."""

import functools
import itertools
import json
import mmap
import os

import cv2
import pytest
from benchmark_steps import fail, make, report_environment, spin

from mnv2_mm.benchmark import core
from mnv2_mm.benchmark.core import Case, prepared, run_interleaved
from mnv2_mm.utils.errors import InputError


def case(name: str, make: functools.partial, **options) -> Case:
    return Case(**{'name': name, 'group': 'group', 'make': make, **options})


@pytest.mark.parametrize('processes', [0, 1])
def test_cases_run_in_turn(tmp_path, processes):
    path = tmp_path / 'calls.txt'
    cases = [
        case(
            name,
            functools.partial(make, path, name),
            repeats=2,
            warmup=1,
            processes=processes,
        )
        for name in 'ab'
    ]
    results = run_interleaved(cases, 2)
    assert path.read_text() == '(a)a(b)b' + 'aabb' * 2
    assert [len(case.times) for case in results] == [2, 2]


def test_the_time_is_the_mean_of_the_repeats_without_the_pause():
    step = functools.partial(functools.partial, spin, 0.02)
    (result,) = run_interleaved([case('a', step, repeats=3)], 1)
    assert 20 <= result.times[0] < 50


def test_ranks_and_threads_reach_the_processes(tmp_path):
    path = tmp_path / 'said.txt'
    make = functools.partial(report_environment, path)
    run_interleaved([case('a', make, processes=2, warmup=1, threads=2)], 0)
    run_interleaved([case('b', make, warmup=1)], 0, threads=3)
    lines = path.read_text().splitlines()
    assert sorted(lines[:2]) == ['0 of 2, 2 threads', '1 of 2, 2 threads']
    assert lines[2:] == ['0 of 1, 3 threads']


@pytest.mark.parametrize('processes', [0, 1])
def test_a_case_that_cannot_run_is_left_out_with_its_reason(processes, capfd):
    cases = [
        case('first', functools.partial(functools.partial, int)),
        case('second', functools.partial(fail, 'no file'), processes=processes),
        case(
            'third',
            functools.partial(__import__, 'no_such_package'),
            processes=processes,
        ),
    ]
    results = run_interleaved(cases, 1)
    assert [case.name for case in results] == ['first']
    out = capfd.readouterr().out
    assert 'second: not run (no file)' in out
    assert 'third: not run (no_such_package is not installed: pip install' in out


@pytest.mark.parametrize(
    'make',
    [
        functools.partial(os._exit, 3),  # while it is prepared
        functools.partial(functools.partial, os._exit, 3),  # in its first step
    ],
)
@pytest.mark.parametrize('warmup', [0, 1])
def test_a_process_that_ends_is_one_message(make, warmup):
    with (
        pytest.raises(InputError, match="the process of 'lost' ended"),
        prepared(case('lost', make, warmup=warmup), 1) as timer,
    ):
        timer()


def test_ratios_are_taken_within_a_round():
    """A machine that halves its speed changes no ratio."""
    slow = case('slow', int, times=[400, 800, 400])
    fast = case('fast', int, times=[100, 200, 200])
    assert fast.ratios(slow) == pytest.approx([4, 4, 2])
    assert fast.median == pytest.approx(200)


# ------------------------------------------------------------------ the report
def result(name: str, *seconds: float, **options) -> Case:
    return case(name, int, times=[1000 * value for value in seconds], **options)


def test_table_has_medians_range_and_ratios():
    rows = [result('slow', 0.4, 0.8, 0.4), result('fast', 0.1, 0.2, 0.2)]
    head, _, slow, fast = core.table(rows).splitlines()
    assert slow.split() == ['slow', '400.0', 'ms', '400.0', 'ms', '800.0', 'ms']
    assert fast.split()[3:] == [
        '100.0',
        'ms',
        '200.0',
        'ms',
        '4.00',
        '(2.00',
        'to',
        '4.00)',
    ]
    assert 'times the first' in head and 'images/s' not in head
    rows = [result('slow', 0.4, images=5, memory=7), result('fast', 0.2, images=5)]
    head, _, slow, fast = core.table(rows).splitlines()
    assert slow.split()[-2:] == ['12.5', '7']
    assert fast.split()[7] == '25.0'


def test_environment_names_the_machine():
    found = core.environment(3)
    assert found['threads'] == 3
    assert set(found) == {
        'processor',
        'instruction_set',
        'bfloat16',
        'threads',
        'load_average',
        'torch',
        'onnxruntime',
        'date',
    }
    assert None not in found.values()


def test_curves_and_bars_are_drawn(tmp_path):
    sizes = [(1, ['ours']), (2, ['theirs', 'ours']), (4, ['theirs', 'ours'])]
    rows = [
        [result(name, 0.1 * n, group='by batch', point=n, images=n) for name in names]
        for n, names in sizes
    ]
    rows.append([result('theirs', 0.9, 1.0), result('ours', 0.3, 0.4)])
    core.plot([*itertools.chain(*rows)], tmp_path / 'times.png', title='here')
    image = cv2.imread(str(tmp_path / 'times.png'))
    assert image.shape[1] > 2 * image.shape[0]  # two panels
    for half in (image[:, : image.shape[1] // 2], image[:, image.shape[1] // 2 :]):
        assert half.std() > 5


# ------------------------------------------------------------------- the tool
def trivial_cases(options) -> list[Case]:
    sleep = functools.partial(functools.partial, spin)
    ends = functools.partial(functools.partial, os._exit, 9)  # as for want of memory
    return [
        Case(name='theirs', group='killed', make=functools.partial(sleep, 0.01)),
        Case(name='ours', group='killed', make=ends, warmup=0),
        Case(name='theirs', group='one photo', make=functools.partial(sleep, 0.02)),
        Case(name='ours', group='one photo', make=functools.partial(sleep, 0.01)),
        Case(name='alone', group='lost', make=functools.partial(sleep, 0.01)),
    ]


def test_tool_prints_writes_and_draws(monkeypatch, run_tool, tmp_path, capfd):
    pytest.importorskip('mmdet.models')
    from mnv2_mm.benchmark import throughput

    monkeypatch.setattr(throughput, 'train_cases', trivial_cases)
    monkeypatch.setattr(os, 'getloadavg', lambda: (1.5, 1, 1))
    path, png = tmp_path / 'times.json', tmp_path / 'times.png'
    flags = ['--rounds', 2, '--json', path, '--png', png]
    assert run_tool('benchmark', 'train', *flags) == 0
    content = json.loads(path.read_text())
    theirs, ours = content['results']
    assert (theirs['name'], ours['group']) == ('theirs', 'one photo')
    assert len(ours['times']) == 2
    assert min(theirs['times']) > min(ours['times']) > 10
    out = capfd.readouterr().out
    assert 'warning: other programs' in out
    assert content['environment']['load_average'] == [1.5, 1, 1]
    for value in (content['environment']['processor'], 'instruction set', 'one photo'):
        assert value in out
    assert 'fewer than two cases' in out
    assert "left out: the process of 'ours' ended" in out
    assert cv2.imread(str(png)) is not None


@pytest.mark.parametrize('flag', ['--rounds', '--batch-size', '--threads'])
def test_tool_refuses_zero(run_tool, capfd, flag):
    assert run_tool('benchmark', 'train', flag, 0) == 2
    assert f'{flag}' in capfd.readouterr().err


def fill(size: int):
    """A step that needs some new memory; the allocator could have some left."""

    def step():
        with mmap.mmap(-1, size) as memory:
            for page in range(0, size, mmap.PAGESIZE):
                memory[page] = 1

    return step


def test_the_memory_of_a_process_is_measured():
    # much more than a forked process may have freed before
    sizes = dict(small=200_000_000, large=400_000_000)
    small, large = (
        case(name, functools.partial(fill, size)) for name, size in sizes.items()
    )
    core.run_interleaved([small, large], 1)
    assert large.memory - small.memory == pytest.approx(200, abs=10)
