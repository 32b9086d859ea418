"""The table of all exported models: rows, mistakes, table and image."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mnv2_mm.benchmark import exported_models as module
from mnv2_mm.benchmark.exported_models import Row, find_exported_models, plot, table
from mnv2_mm.runtime import timing
from mnv2_mm.utils.errors import InputError

HERE = Path()
CONTENT = bytes(10**6)
DIGEST = dict(name='a.onnx', bytes=10**6, sha256=hashlib.sha256(CONTENT).hexdigest())
INFO = dict(
    format=2,
    task='cls',
    config='mnv2_pets',
    backend='onnxruntime',
    precision='fp32',
    files=[DIGEST],
    input=dict(name='input', shape=[1, 3, 8, 8]),
    outputs=[dict(name='output')],
    classes=['cat', 'dog'],
    palette=[[0, 0, 0]] * 2,
    preprocessing=dict(
        steps=[],
        mean=[0.0] * 3,
        std=[1.0] * 3,
        color_order='RGB',
        pad_to=None,
        pad_multiple=1,
        pad_value=0,
    ),
)
ENDING = ('resize', 'argmax', 'align_corners')


def times(median, machine='a phone', threads=(1, 4)):
    """Content of benchmark.json, quartiles a tenth apart."""
    low, high = (median, median) if median == 'fast' else (0.9 * median, 1.1 * median)
    stage = dict(quarter=low, median=median, three_quarters=high)
    stages = ('preprocessing', 'network', 'postprocessing', 'total')
    rows = [dict.fromkeys(stages, stage) | {'threads': n} for n in threads]
    return dict(machine=machine, times=rows)


@pytest.fixture
def add(tmp_path):
    """Put an exported model of 1 MB into the folder, its description changed."""

    def make(name, *, timed=None, **changes):
        folder = tmp_path / name
        folder.mkdir()
        ncnn = changes.get('backend') == 'ncnn'
        files = (
            [DIGEST | dict(name=n) for n in ('a.param', 'a.bin')] if ncnn else [DIGEST]
        )
        for file in files:
            (folder / file['name']).write_bytes(CONTENT)
        info = INFO | dict(files=files) | changes
        (folder / 'model.json').write_text(json.dumps(info))
        if timed:
            (folder / 'benchmark.json').write_text(json.dumps(timed))
        return folder

    return make


def test_each_folder_with_an_exported_model_is_a_row(add, tmp_path):
    add('ort', timed=times(5.0))
    add('ncnn_int8', backend='ncnn', precision='int8')
    (tmp_path / 'logs').mkdir()
    (tmp_path / 'notes.txt').write_text('of the user')
    rows = {row.name: row for row in find_exported_models(tmp_path)}
    assert list(rows) == ['ncnn_int8', 'ort']
    assert rows['ort'].bytes == 10**6
    titles = ['latency, 1 thread', 'latency, 4 threads']
    assert list(rows['ort'].latency) == titles
    assert rows['ort'].latency[titles[1]]['median'] == 5
    assert rows['ncnn_int8'].info['precision'] == 'int8'
    assert rows['ncnn_int8'].latency == {}
    (row,) = find_exported_models(tmp_path / 'ort')
    assert row.name == 'ort'


def test_a_damaged_export_keeps_its_row(add, tmp_path):
    add('whole')
    (add('cut') / 'model.json').write_text('{"task": ')
    (add('old') / 'model.json').write_text('{"task": "cls"}')
    (add('list') / 'model.json').write_text('[]')
    (add('half') / 'a.onnx').unlink()
    problems = {row.name: row.problems for row in find_exported_models(tmp_path)}
    assert problems.pop('whole') == []
    assert 'model.json' in problems['cut'][0]
    assert 'another version' in problems['old'][0]
    assert 'list/model.json' in problems['list'][0]
    assert 'lacks a.onnx' in problems['half'][0]


@pytest.mark.parametrize(
    'changes',
    [
        dict(task='seg', ending=dict.fromkeys(ENDING, False)),
        dict(config='other'),
        dict(classes=['cat', 'cow']),
    ],
)
def test_exports_of_two_models_are_refused(add, tmp_path, changes):
    add('a')
    add('b', **changes)
    key = next(iter(changes))
    with pytest.raises(InputError, match=f'a and b .* {key} '):
        find_exported_models(tmp_path)


def test_an_export_without_its_config(add, tmp_path):
    add('a', config=None)
    add('b')
    assert len(find_exported_models(tmp_path)) == 2


def test_folders_without_exported_models(add, tmp_path):
    with pytest.raises(InputError, match='there is no folder'):
        find_exported_models(tmp_path / 'nowhere')
    with pytest.raises(InputError, match=r'tools/export\.py makes one'):
        find_exported_models(tmp_path)
    (add('cut') / 'model.json').write_text('{')
    with pytest.raises(InputError, match=r'cut/model\.json'):
        find_exported_models(tmp_path)


@pytest.mark.parametrize(
    'text',
    [
        '',
        '[]',
        '[' * 10**5,
        '{"times": [1]}',
        '{"machine": ',
        '{"machine": "a", "times": [{"threads": 1}]}',
        json.dumps(times('fast')),
        json.dumps(times(1.0, threads=([],))),
        json.dumps(times(1.0) | {'files': ['of another model']}),
    ],
)
def test_a_damaged_benchmark_file_counts_as_none(tmp_path, text):
    (tmp_path / 'benchmark.json').write_text(text)
    assert timing.read(tmp_path, {'files': []}) == {}


def test_a_tool_that_fails_costs_its_row(add, tmp_path):
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), np.zeros((9, 9, 3), np.uint8))
    lost = Row('engine', add('engine', precision='fp99'))
    module.measure_latency(lost, str(image))
    assert lost.times == {}
    (problem,) = lost.problems
    assert str(lost.path) in problem and 'precision' in problem


def test_a_tool_that_crashes_costs_its_row(monkeypatch, tmp_path):
    (tmp_path / 'tools').mkdir()
    monkeypatch.setattr(module, 'config_root', lambda: tmp_path / 'configs')
    tool = tmp_path / 'tools/run_exported.py'
    tool.write_text('import os\nos.abort()\n')
    row = Row('ncnn', tmp_path)
    module.measure_latency(row, 'image.png')
    assert row.problems == ['run_exported.py was killed by signal 6']
    tool.write_text('import sys\nsys.exit("1\\nValueError: no")\n')
    module.measure_latency(row, 'image.png')
    assert row.problems[1:] == ['ValueError: no']


def row(name, backend, precision, **known):
    return Row(name, HERE, dict(backend=backend, precision=precision), **known)


def rows_of_three():
    fast = row('int8', 'ncnn', 'int8', bytes=3_400_000, times=times(4.0))
    fast.info['input'] = dict(shape=[1, 3, 8, None])
    fast.metrics = {'mIoU': 0.5}
    slow = row('PyTorch', 'PyTorch', 'fp32', bytes=12_400_000, times=times(20.0))
    slow.metrics = {'mIoU': 0.523456}
    lost = row('engine', 'tensorrt', 'fp16', bytes=6_000_000)
    lost.problems.append('needs tensorrt')
    return [slow, fast, lost]


def test_the_table(tmp_path):
    lines = table(rows_of_three(), 'mIoU').splitlines()
    cells = [[c.strip() for c in line.split('|')[1:-1]] for line in lines[:5]]
    assert cells[0][4:] == ['size', 'mIoU', 'latency, 1 thread', 'latency, 4 threads']
    assert cells[2][3:6] == ['-', '12.40 MB', '0.5235']
    assert cells[2][6] == '20.0 (18.0-22.0)'
    assert cells[3][3:6] == ['8x?', '3.40 MB', '0.5']
    assert cells[3][7] == '4.0 (3.6-4.4)'
    assert cells[4][5:] == ['-'] * 3
    assert 'Timed on a phone: PyTorch, int8.' in lines
    assert '- engine: needs tensorrt' in lines
    without = table(rows_of_three())
    assert 'mIoU' not in without


def test_two_machines_are_told_apart():
    rows = rows_of_three()
    rows[2].times = times(1.0, 'a Jetson', threads=(None,))
    text = table(rows)
    assert 'a phone: PyTorch, int8.\n' in text
    assert 'a Jetson: engine.\n' in text
    assert '| latency |' in text


@pytest.mark.parametrize('metric', ['mIoU', ''])
def test_the_image(tmp_path, metric):
    path = tmp_path / 'exported_models.png'
    unmeasured = row('other', 'ncnn', 'fp32', bytes=1000, times=times(3.0))
    rows = [*rows_of_three(), unmeasured]
    assert plot(rows, path, metric=metric, title='pets')
    image = cv2.imread(str(path))
    assert image.shape[1] > 900
    # the colors of the two that have all figures
    for color in ('ff7f0e', '7f7f7f'):
        rgb = np.array(list(bytes.fromhex(color)))
        mixed = rgb * 0.55 + 255 * 0.45  # as transparent as it is drawn
        assert (np.abs(image[..., ::-1] - mixed).max(-1) < 4).sum() > 100
    assert not plot([Row('lost', HERE)], tmp_path / 'none.png', metric=metric, title='')
    assert not (tmp_path / 'none.png').exists()


# ------------------------------------------------------------- the tool
def test_the_tool_keeps_times(add, run_tool, tmp_path, capfd):
    add('ort', timed=times(5.0))
    add('ncnn', backend='ncnn')
    assert run_tool('benchmark_builds', tmp_path) == 0
    out = capfd.readouterr().out
    assert '5.0 (4.5-5.5)' in out
    assert '- ncnn: not timed: give --image or --config' in out
    assert (tmp_path / 'exported_models.md').read_text() in out
    assert cv2.imread(str(tmp_path / 'exported_models.png')) is not None


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--limit', 0], '--limit is 0'),
        (['--limit', 3], '--checkpoint and --limit need --config'),
        (['--checkpoint', 'a.pth'], '--checkpoint and --limit need --config'),
        (['--image', 'none.jpg'], 'there is no image none.jpg'),
        (['--config', 'no_such_config'], 'no_such_config'),
        (['--out', '{}/file/table'], 'not a directory'),
    ],
)
def test_mistakes_are_named(add, run_tool, tmp_path, capfd, flags, message):
    add('ort', timed=times(5.0))
    (tmp_path / 'file').write_text('')
    flags = [str(flag).format(tmp_path) for flag in flags]
    assert run_tool('benchmark_builds', tmp_path, *flags) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / 'exported_models.md').exists()


pytest_plugins = ['deploy_networks']


@pytest.mark.slow
@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_exported_models_beside_pytorch(
    network, built, run_tool, tmp_path, capfd, task
):
    """All of it on some images; ncnn is as accurate as PyTorch."""
    for name in ('mmdeploy', 'onnxruntime', 'ncnn'):
        pytest.importorskip(name)
    config, checkpoint, _ = network(task)
    seg = {'ir_config.input_shape': '[96,96]'} if task == 'seg' else {}
    end = 'static_513' if seg else 'static'
    for kind in (end, f'ncnn_{end}'):
        folder = built(task, kind, **seg)
        (tmp_path / kind).symlink_to(Path(folder))
    flags = ['--config', config, '--checkpoint', checkpoint, '--limit', 5]
    assert run_tool('benchmark_builds', tmp_path, *flags) == 0
    printed = capfd.readouterr().out
    lines = (tmp_path / 'exported_models.md').read_text().splitlines()
    assert 'Missing:' not in lines
    values = [float(line.split('|')[6]) for line in lines[2:5]]
    assert values == pytest.approx([values[0]] * 3, abs=0.02 * max(values))
    assert 'on 5 images of the test set' in printed
