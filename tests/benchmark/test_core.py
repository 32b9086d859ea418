"""Cases are measured in turn, in processes of their own, and compared."""

import functools
import sys
import time

import pytest
from benchmark_steps import fail, make, report_environment

from mnv2_mm.benchmark import core
from mnv2_mm.benchmark.core import Case, Result, in_subprocess, run_interleaved
from mnv2_mm.utils.errors import InputError


@pytest.fixture(autouse=True)
def light_server(monkeypatch):
    monkeypatch.setattr(core, 'PRELOAD', ['mnv2_mm.benchmark.core'])


def case(name: str, make: functools.partial, **options) -> Case:
    return Case(name=name, group='group', make=make, **options)


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
    assert [len(result.seconds) for result in results] == [2, 2]


def test_the_time_is_the_mean_of_the_repeats_without_the_pause():
    step = functools.partial(functools.partial, time.sleep, 0.02)
    (result,) = run_interleaved([case('a', step, repeats=3)], 1)
    assert 0.02 <= result.seconds[0] < 0.05


def test_ranks_and_threads_reach_the_processes(tmp_path):
    path = tmp_path / 'said.txt'
    make = functools.partial(report_environment, path)
    run_interleaved([case('a', make, processes=2, warmup=1, threads=2)], 0)
    run_interleaved([case('b', make, warmup=1)], 0, threads=3)
    lines = path.read_text().splitlines()
    assert sorted(lines[:2]) == ['0 of 2, 2 threads', '1 of 2, 2 threads']
    assert lines[2:] == ['0 of 1, 3 threads']


@pytest.mark.parametrize('processes', [0, 1])
def test_a_case_that_cannot_run_is_left_out_with_its_reason(processes):
    lines = []
    cases = [
        case('first', functools.partial(functools.partial, int)),
        case('second', functools.partial(fail, 'no file'), processes=processes),
        case(
            'third',
            functools.partial(__import__, 'no_such_package'),
            processes=processes,
        ),
    ]
    results = run_interleaved(cases, 1, progress=lines.append)
    assert [result.case.name for result in results] == ['first']
    assert 'left out: second: no file' in lines
    assert 'left out: third: no_such_package is not installed' in lines


@pytest.mark.parametrize(
    'make',
    [
        functools.partial(sys.exit, 3),  # while it is prepared
        functools.partial(functools.partial, sys.exit, 3),  # in its first step
    ],
)
@pytest.mark.parametrize('warmup', [0, 1])
def test_a_process_that_ends_is_one_message(make, warmup):
    with (
        pytest.raises(InputError, match="the process of 'lost' ended"),
        in_subprocess(case('lost', make, warmup=warmup), 1) as timer,
    ):
        timer(1)


def test_ratios_are_taken_within_a_round():
    """A machine that halves its speed changes no ratio."""
    slow = Result(case('slow', int), [0.4, 0.8, 0.4])
    fast = Result(case('fast', int), [0.1, 0.2, 0.2])
    assert fast.ratios(slow) == pytest.approx([4, 4, 2])
    assert fast.median == pytest.approx(200)
