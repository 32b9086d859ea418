"""Timing of exported models: what is measured and written, not how long it took."""

import json
import time

import cv2
import numpy as np
import pytest

from mnv2_mm.runtime import machine, timing
from mnv2_mm.runtime import model as exported
from mnv2_mm.runtime.description import File
from mnv2_mm.utils.errors import InputError

SLOW = 0.004  # seconds of a run of the backend below
COLD = 2  # first runs, which take longer


class Backend:
    """Stands for onnxruntime and the like; slower than all around it."""

    version, on_cpu, outputs = '1.2', True, ['output']

    def __init__(self, files, *, threads):
        self.threads, self.runs = threads, 0
        MADE.append(self)

    def __call__(self, inputs):
        assert inputs.shape == (1, 3, 8, 8)
        self.runs += 1
        time.sleep(SLOW if self.runs > COLD else 20 * SLOW)
        return {'output': np.zeros((1, 3), np.float32)}


class Accelerator(Backend):
    """A backend to which threads mean nothing."""

    on_cpu = False


MADE = []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An exported model for one of the backends above."""
    known = {'ncnn': Backend, 'tensorrt': Accelerator}
    monkeypatch.setattr(exported, 'BACKENDS', known)
    MADE.clear()
    size = dict(do='resize', keep_ratio=False, interpolation='bilinear')
    (tmp_path / 'a.bin').write_bytes(bytes(100))
    (tmp_path / 'b.bin').write_bytes(bytes(20))
    files = [File.of(tmp_path / name) for name in ('a.bin', 'b.bin')]
    info = dict(
        format=2,
        task='cls',
        backend='ncnn',
        precision='int8',
        files=[file.model_dump() for file in files],
        input=dict(name='input', shape=[1, 3, 8, 8]),
        outputs=[dict(name='output')],
        classes=['a', 'b', 'c'],
        palette=[[0, 0, 0]] * 3,
        preprocessing=dict(
            steps=[dict(size, size=[8, 8])],
            mean=[0.0] * 3,
            std=[1.0] * 3,
            color_order='RGB',
            pad_to=None,
            pad_multiple=1,
            pad_value=0,
        ),
    )
    (tmp_path / 'model.json').write_text(json.dumps(info))
    return tmp_path


def test_stages_are_timed_apart(folder):
    image = np.zeros((20, 30, 3), np.uint8)
    threads = [1, 2]
    found = timing.benchmark(folder, image, threads=threads, runs=5, warmup=COLD)
    assert [made.threads for made in MADE] == threads
    assert [made.runs for made in MADE] == [7, 7]
    assert found['bytes'] == 120
    assert found['image'] == [30, 20]
    assert found['in_network'] == ['softmax']
    assert [row['threads'] for row in found['times']] == [1, 2]
    for row in found['times']:
        assert row['network']['quarter'] >= 1000 * SLOW
        assert row['network']['three_quarters'] < 8 * 1000 * SLOW
        assert 0 < row['preprocessing']['median'] < 1000 * SLOW
        assert 0 < row['postprocessing']['median'] < 1000 * SLOW
        assert row['total']['median'] > row['network']['median']
        for stage in timing.STAGES:
            one = row[stage]
            order = [one['quarter'], one['median'], one['three_quarters']]
            assert order == sorted(order)
    words = timing.in_words(found)
    assert machine.describe() in words
    assert 'includes softmax' in words
    assert 'ncnn 1.2, int8, 0.00 MB' in words


def test_one_thread_and_all_cores(folder, monkeypatch):
    monkeypatch.setattr(timing, 'cores', lambda: 8)
    before = cv2.getNumThreads()
    timing.benchmark(folder, np.zeros((9, 9, 3), np.uint8), runs=1)
    assert [made.threads for made in MADE] == [1, 8]
    assert cv2.getNumThreads() == before


def test_threads_mean_nothing_to_an_accelerator(folder):
    text = (folder / 'model.json').read_text()
    (folder / 'model.json').write_text(text.replace('ncnn', 'tensorrt'))
    image = np.zeros((9, 9, 3), np.uint8)
    found = timing.benchmark(folder, image, threads=[1, 8], runs=1)
    assert [row['threads'] for row in found['times']] == [None]
    assert len(MADE) == 1
    assert '\n      -' in timing.in_words(found)


@pytest.mark.parametrize(
    ('task', 'ending', 'held'),
    [
        ('det', None, ['decoding', 'NMS']),
        ('seg', dict(resize=True, argmax=False), ['resize']),
        ('seg', dict(resize=True, argmax=True), ['resize', 'argmax']),
        ('seg', dict(resize=False, argmax=False), []),
    ],
)
def test_what_the_network_holds(task, ending, held):
    assert timing.inside_network(dict(task=task, ending=ending)) == held


def test_the_tool_writes_into_the_folder(folder, run_tool, capfd):
    image = folder / 'image.png'
    cv2.imwrite(str(image), np.zeros((9, 9, 3), np.uint8))
    flags = ['--benchmark', '--threads', 1]
    assert run_tool('run_exported', folder, image, *flags) == 0
    assert 'median (quartiles) of 30 runs' in capfd.readouterr().out
    found = json.loads((folder / 'benchmark.json').read_text())
    assert found['runs'] == 30
    assert found['machine'] == machine.describe()
    (row,) = found['times']
    assert row['threads'] == 1


def test_no_drawing_replaces_the_photo(folder, run_tool, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    cv2.imwrite('drawn.jpg', np.zeros((9, 9, 3), np.uint8))
    before = (folder / 'drawn.jpg').read_bytes()
    for flags in ([], ['--out', folder / 'drawn.jpg']):
        assert run_tool('run_exported', folder, 'drawn.jpg', *flags) == 2
        assert 'is the image itself' in capfd.readouterr().err
    assert (folder / 'drawn.jpg').read_bytes() == before
    assert run_tool('run_exported', folder, 'drawn.jpg', '--out', 'new.jpg') == 0
    # a place that cannot be written does not matter to the times
    (folder / 'drawn.jpg').rename('photo.jpg')
    (folder / 'drawn.jpg').mkdir()
    assert run_tool('run_exported', folder, 'photo.jpg') == 2
    assert 'is a directory' in capfd.readouterr().err
    assert run_tool('run_exported', folder, 'photo.jpg', '--benchmark') == 0


@pytest.mark.parametrize(
    ('flags', 'message'),
    [(['--runs', 5], 'give at least 30'), (['--threads', -1], '--threads is -1')],
)
def test_too_little_is_refused(folder, run_tool, capfd, flags, message):
    image = folder / 'image.png'
    cv2.imwrite(str(image), np.zeros((9, 9, 3), np.uint8))
    assert run_tool('run_exported', folder, image, '--benchmark', *flags) == 2
    assert message in capfd.readouterr().err
    assert not (folder / 'benchmark.json').exists()


def test_a_folder_that_is_no_exported_model(tmp_path):
    with pytest.raises(InputError, match='is no exported model'):
        timing.benchmark(tmp_path, np.zeros((9, 9, 3), np.uint8))


def test_the_machine_has_a_name(monkeypatch):
    files = {
        '/proc/device-tree/model': 'NVIDIA Jetson Orin Nano\0',
        '/proc/cpuinfo': 'processor: 0\nmodel name\t: ARMv8 rev 1\n',
    }
    monkeypatch.setattr(machine, '_text', lambda path: files[str(path)])
    monkeypatch.setattr(machine, 'cores', lambda: 6)
    monkeypatch.setattr(machine.shutil, 'which', lambda name: None)
    text = machine.describe()
    assert text.startswith('NVIDIA Jetson Orin Nano, ARMv8 rev 1, ')
    assert text.endswith(', 6 cores')


@pytest.mark.parametrize(
    ('line', 'name', 'bfloat16'),
    [
        ('flags: fpu avx avx2 sha_ni', 'AVX2', False),
        ('flags: avx2 avx512f avx512bw avx512dq avx512vl', 'AVX-512', False),
        ('flags: avx2 avx512f avx512_bf16', 'AVX-512', True),
        ('flags: avx2 avx512f amx_bf16 amx_tile', 'AVX-512', True),
        ('Features: fp asimd sve bf16', 'SVE', True),
        ('Features: half thumb neon vfpv4', 'NEON', False),
        ('', 'unknown', False),
    ],
)
def test_what_the_processor_can_do(monkeypatch, line, name, bfloat16):
    monkeypatch.setattr(machine, '_text', lambda path: f'processor: 0\n{line}\n')
    machine._flags.cache_clear()
    try:
        assert machine.instruction_set() == name
        assert machine.has_bfloat16() == bfloat16
        assert f', {name}{" with bfloat16" * bfloat16}, ' in machine.describe()
    finally:
        machine._flags.cache_clear()
