"""What is printed, written and drawn, and the tool that does it."""

import functools
import json
import time

import cv2
import pytest

from mnv2_mm.benchmark import report
from mnv2_mm.benchmark.core import Case, Result


def result(name: str, *seconds: float, **options) -> Result:
    options = {'group': 'one photo', **options}
    return Result(Case(name=name, make=int, **options), list(seconds))


def test_table_has_medians_range_and_ratios():
    rows = [result('slow', 0.4, 0.8, 0.4), result('fast', 0.1, 0.2, 0.2)]
    head, slow, fast = report.table(rows).splitlines()
    assert slow.split() == ['slow', '400.0', 'ms', '400.0', 'ms', '800.0', 'ms']
    assert fast.endswith('100.0 ms  200.0 ms  4.00 (2.00 to 4.00)')
    assert 'times as fast as slow' in head and 'images/s' not in head
    rows = [result('slow', 0.4, images=5), result('fast', 0.2, images=5)]
    head, slow, fast = report.table(rows).splitlines()
    assert slow.split()[-1] == '12'
    assert fast.split()[7] == '25'


def test_records_have_the_ratio_to_the_first():
    rows = [result('slow', 0.4, 0.8), result('fast', 0.1, 0.2, images=3, point=8)]
    first, second = report.records(rows)
    assert (first['ratio'], second['ratio']) == (1, 4)
    assert second['milliseconds'] == pytest.approx([100, 200])
    assert (second['min'], second['max']) == pytest.approx((100, 200))
    assert (second['reference'], second['images'], second['point']) == ('slow', 3, 8)


def test_environment_names_the_machine():
    found = report.environment(3)
    assert found['threads'] == 3
    assert set(found) == {
        'processor',
        'instruction_set',
        'threads',
        'load_average',
        'torch',
        'date',
    }
    text = report.header(found)
    for value in (found['processor'], found['instruction_set'], found['torch']):
        assert value and str(value) in text


def test_instruction_sets_are_read_from_the_processor(monkeypatch):
    text = 'processor : 0\nflags : fpu avx2 avx512f avx512_bf16\n'
    monkeypatch.setattr(report.Path, 'read_text', lambda *args, **kwargs: text)
    assert report.environment(1)['instruction_set'] == 'avx2 avx512 bf16'


def test_curves_and_bars_are_drawn(tmp_path):
    sizes = [(1, ['ours']), (2, ['theirs', 'ours']), (4, ['theirs', 'ours'])]
    rows = [
        [result(name, 0.1 * n, group='by batch', point=n, images=n) for name in names]
        for n, names in sizes
    ]
    rows.append([result('theirs', 0.9, 1.0), result('ours', 0.3, 0.4)])
    records = [record for row in rows for record in report.records(row)]
    content = dict(environment=report.environment(1), results=records)
    report.plot(content, tmp_path / 'times.png')
    image = cv2.imread(str(tmp_path / 'times.png'))
    assert image.shape[1] > 2 * image.shape[0]  # two panels
    for half in (image[:, : image.shape[1] // 2], image[:, image.shape[1] // 2 :]):
        assert half.std() > 5


# ------------------------------------------------------------------- the tool
def trivial_cases(options) -> list[Case]:
    sleep = functools.partial(functools.partial, time.sleep)
    return [
        Case(name='theirs', group='one photo', make=functools.partial(sleep, 0.02)),
        Case(name='ours', group='one photo', make=functools.partial(sleep, 0.01)),
        Case(name='alone', group='lost', make=functools.partial(sleep, 0.01)),
    ]


def test_tool_prints_writes_and_draws(monkeypatch, run_tool, tmp_path, capfd):
    pytest.importorskip('mmdet.models')
    from mnv2_mm.benchmark import train

    monkeypatch.setattr(train, 'cases', trivial_cases)
    path, png = tmp_path / 'times.json', tmp_path / 'times.png'
    flags = ['--rounds', 2, '--json', path, '--png', png]
    assert run_tool('benchmark', 'train', *flags) == 0
    content = json.loads(path.read_text())
    _, ours = content['results']
    assert len(ours['milliseconds']) == 2
    assert 1 < ours['ratio'] < 3
    out = capfd.readouterr().out
    for value in (content['environment']['processor'], 'instruction set', 'one photo'):
        assert value in out
    assert 'fewer than two cases' in out
    assert cv2.imread(str(png)) is not None


@pytest.mark.parametrize('flag', ['--rounds', '--batch-size', '--threads'])
def test_tool_refuses_zero(run_tool, capfd, flag):
    assert run_tool('benchmark', 'train', flag, 0) == 2
    assert f'{flag}' in capfd.readouterr().err
