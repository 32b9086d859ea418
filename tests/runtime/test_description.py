"""model.json and the files it names: what a stranger's folder cannot do."""

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
import onnx
from exported_folders import description, network, write_folder

from mnv2_mm.runtime.description import read_info
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.utils.errors import InputError

IMAGE = np.zeros((5, 4, 3), np.uint8)
IMAGE[..., 2] = 255


@pytest.mark.parametrize('backend', ['onnxruntime', 'ncnn', 'openvino'])
def test_a_whole_folder_predicts(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    model = ExportedModel(write_folder(tmp_path, backend))
    np.testing.assert_allclose(model(IMAGE)['probabilities'], [0, 0, 1], atol=1e-6)


def change(*path: str | int, to: object) -> Callable[[dict], None]:
    """A change of one value of model.json."""

    def make(info: dict) -> None:
        *front, last = path
        for key in front:
            info = info[key]
        info[last] = to

    return make


BAD = {
    'files of text': change('files', to='a.onnx'),
    'names without digests': change('files', to=['a.onnx']),
    'no files': change('files', to=[]),
    'a file twice': lambda info: info['files'].append(info['files'][0]),
    'absolute': change('files', 0, 'name', to='/etc/passwd'),
    'above': change('files', 0, 'name', to='../secret.onnx'),
    'windows': change('files', 0, 'name', to='C:\\a.onnx'),
    'line break': change('files', 0, 'name', to='a.onnx\n'),
    'size': change('files', 0, 'bytes', to=1),
    'digest': change('files', 0, 'sha256', to='0' * 64),
    'boolean': change('files', 0, 'bytes', to=True),
    'format': change('format', to=1),
    'outputs': change('outputs', to=[dict(name='dets', columns=['x0'])]),
    'two outputs': change('outputs', to=[dict(name='y1')] * 2),
    'another output': change('outputs', 0, 'name', to='y7'),
    'unknown column': change('outputs', 0, 'columns', to=['mask']),
    'more classes': change('classes', to=['a', 'b', 'c', 'd']),
    'task': change('task', to='seg'),
    'backend': change('backend', to='os'),
    'NaN': change('preprocessing', 'mean', to=[float('nan')] * 3),
    'huge': change('preprocessing', 'pad_value', to=1e300),
    'zero': change('preprocessing', 'std', to=[0.0] * 3),
    'size of a step': change('preprocessing', 'steps', 0, 'size', to=[10**6, 8]),
    'another step': change('preprocessing', 'steps', 0, 'do', to='exec'),
    'deep': change('classes', to=json.loads('[' * 900 + ']' * 900)),
    'huge number': change('input', 'shape', 0, to=10**4000),
    'color': change('palette', 0, 0, to=256),
}


@pytest.mark.parametrize('kind', BAD)
def test_a_bad_description_is_refused(tmp_path: Path, kind: str) -> None:
    folder = write_folder(tmp_path / 'model')
    shutil.copy(folder / 'a.onnx', tmp_path / 'secret.onnx')
    info = description(folder, 'a.onnx')
    BAD[kind](info)
    (folder / 'model.json').write_text(json.dumps(info))
    with pytest.raises(InputError, match=r'model\.json'):
        ExportedModel(folder)


@pytest.mark.parametrize('text', ['', '{', '[]', 'null', '\ufeff{}', '{"a": ' * 5000])
def test_what_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / 'model.json').write_text(text)
    with pytest.raises(InputError, match=r'model\.json'):
        read_info(tmp_path)


@pytest.mark.parametrize('name', ['a.onnx', 'model.json'])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / 'model')
    (folder / name).rename(tmp_path / name)
    os.symlink(tmp_path / name, folder / name)
    with pytest.raises(InputError, match='link'):
        read_info(folder)


@pytest.mark.parametrize('at', [0, 40, -1])
@pytest.mark.parametrize('backend', ['onnxruntime', 'ncnn'])
def test_a_damaged_file_does_not_reach_the_backend(
    tmp_path: Path, backend: str, at: int
) -> None:
    pytest.importorskip(backend)
    folder = write_folder(tmp_path, backend)
    names = [file['name'] for file in read_info(folder)[1]['files']]
    path = folder / names[0]
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f'{names[0]} is not the file'):
        ExportedModel(folder)
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match=f'{names[0]} is not the file'):
        ExportedModel(folder)


@pytest.mark.parametrize('data', [b'', b'junk', network().SerializeToString()[:-30]])
def test_onnxruntime_refuses_a_damaged_file_plainly(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / 'a.onnx'
    path.write_bytes(data)
    with pytest.raises(InputError, match=r'a\.onnx'):
        OnnxRuntime([path])


@pytest.mark.parametrize('text', ['', 'junk', '7767517\n1 1\n', '7767517\n0 0\n'])
def test_ncnn_refuses_a_damaged_file_plainly(tmp_path: Path, text: str) -> None:
    pytest.importorskip('ncnn')
    files = tmp_path / 'a.param', tmp_path / 'a.bin'
    files[0].write_text(text)
    files[1].write_bytes(b'')
    with pytest.raises(InputError, match=r'a\.param'):
        Ncnn(files)


def test_the_network_is_not_the_described_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    info = description(folder, 'a.onnx')
    changed = copy.deepcopy(info) | dict(classes=['a'], palette=[[0, 0, 0]])
    (folder / 'model.json').write_text(json.dumps(changed))
    with pytest.raises(InputError, match='1 classes'):
        ExportedModel(folder)(IMAGE)
    info['preprocessing']['steps'][0]['size'] = [9, 9]
    info['input']['shape'] = [1, 3, 9, 9]
    (folder / 'model.json').write_text(json.dumps(info))
    with pytest.raises(InputError, match=r'\(1, 3, 9, 9\)'):
        ExportedModel(folder)(IMAGE)


@pytest.mark.parametrize('backend', ['onnxruntime', 'ncnn'])
def test_an_input_of_another_size_than_the_exported(
    tmp_path: Path, backend: str
) -> None:
    """ncnn would give wrong answers, ONNX Runtime an error of its own."""
    pytest.importorskip(backend)
    folder = write_folder(tmp_path, backend)
    info = json.loads((folder / 'model.json').read_text())
    info['preprocessing']['steps'][0]['keep_ratio'] = True
    (folder / 'model.json').write_text(json.dumps(info))
    model = ExportedModel(folder)
    model(np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(InputError, match=r'input of 4x8, .* takes 8x8'):
        model(np.zeros((20, 10, 3), np.uint8))
    info['input']['shape'][2:] = [None, 4]
    (folder / 'model.json').write_text(json.dumps(info))
    ExportedModel(folder).prepare(np.zeros((20, 10, 3), np.uint8))


@pytest.mark.parametrize('place', ['../secret', '{}/secret', 'weights'])
def test_weights_in_other_files_are_not_read(tmp_path: Path, place: str) -> None:
    """ONNX Runtime would open any file that the graph names."""
    folder = write_folder(tmp_path / 'model')
    for secret in (tmp_path / 'secret', folder / 'weights'):
        secret.write_bytes(bytes(12))
    model = network()
    weight = model.graph.initializer.add()
    weight.name, weight.data_type = 'w', onnx.TensorProto.FLOAT
    weight.dims[:] = [3]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key='location', value=place.format(tmp_path))
    model.graph.node.append(onnx.helper.make_node('Add', ['y1', 'w'], ['y2']))
    model.graph.output[0].name = 'y2'
    (folder / 'a.onnx').write_bytes(model.SerializeToString())
    info = description(folder, 'a.onnx') | dict(outputs=[dict(name='y2')])
    (folder / 'model.json').write_text(json.dumps(info))
    with pytest.raises(InputError, match='onnxruntime'):
        ExportedModel(folder)


@pytest.mark.parametrize('threads', [-3, 1.5])
def test_a_bad_number_of_threads(tmp_path: Path, threads: int) -> None:
    with pytest.raises(InputError, match=f'threads is {threads}'):
        ExportedModel(write_folder(tmp_path), threads=threads)
    assert ExportedModel(write_folder(tmp_path), threads=np.int64(2))


def test_arrays_of_other_forms(tmp_path: Path) -> None:
    model = ExportedModel(write_folder(tmp_path))
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    wanted = model(np.dstack([gray] * 3))['probabilities']
    np.testing.assert_array_equal(model(gray)['probabilities'], wanted)
    with pytest.raises(InputError, match='float32'):
        model(np.zeros((6, 8, 3), np.float32))


@pytest.mark.parametrize('shape', [(1, 4000, 3), (0, 0, 3)])
def test_an_image_that_cannot_be_resized(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    folder = write_folder(tmp_path)
    info = description(folder, 'a.onnx')
    info['preprocessing']['steps'][0].update(keep_ratio=True)
    (folder / 'model.json').write_text(json.dumps(info))
    with pytest.raises(InputError, match='pixels'):
        ExportedModel(folder)(np.zeros(shape, np.uint8))
