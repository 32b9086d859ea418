"""The file that builds and runs TensorRT engines, against the published API.

tests/helpers/fake_tensorrt.py stands in for NVIDIA's package. It has what the
stubs of the three versions have and nothing else; onnxruntime runs its
engines, in the memory of tests/helpers/fake_cuda.py.
"""

import ast
import ctypes
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')

import fake_cuda
import fake_tensorrt
import onnx
import onnxruntime
from fake_tensorrt import STUBS, VERSIONS
from onnx_graphs import GraphBuilder, conv

from mnv2_mm.deploy.graph import name_nodes
from mnv2_mm.deploy.quantize import quantize
from mnv2_mm.deploy.to_fp16 import to_fp16
from mnv2_mm.runtime import tensorrt_engine as trt
from mnv2_mm.runtime.tensorrt import TensorRT

pytest_plugins = ['fake_tensorrt']

FILE = Path(trt.__file__)
PRECISIONS = ('fp32', 'fp16', 'int8')


def network(precision, open_batch=False):
    """Two convolutions and a softmax over what they give."""
    b = GraphBuilder(1, 3, 8, 8, seed=4)
    x = conv(b, 'x', 3, 8)
    x = b.add('Clip', x, *(b.constant(np.float32(v)) for v in (0, 6)))
    x = b.add('GlobalAveragePool', conv(b, x, 8, 5))
    x = b.add('Flatten', x)
    b.add('Softmax', x, axis=1)
    shape = ('batch', 3, 8, 8) if open_batch else None
    model = b.model(shape=shape)
    output = model.graph.output[0].type.tensor_type
    output.elem_type = 1
    first = output.shape.dim.add()
    if open_batch:
        first.dim_param = 'batch'
    else:
        first.dim_value = 1
    output.shape.dim.add().dim_value = 5
    name_nodes(model)
    if precision == 'fp16':
        return to_fp16(model)
    if precision == 'int8':
        images = [b.image() for _ in range(4)]
        return quantize(model, images, symmetric=True)
    return model


@pytest.fixture
def folder(tmp_path):
    """An exported model: the ONNX file, its description, a reference."""

    def write(precision='fp32', batch=(1, 1, 1)):
        model = network(precision, open_batch=batch[2] > 1)
        onnx.save(model, tmp_path / 'end2end.onnx')
        rng = np.random.default_rng(1)
        count = min(2, batch[2])
        inputs = rng.normal(size=(count, 3, 8, 8)).astype(np.float32)
        session = onnxruntime.InferenceSession(
            tmp_path / 'end2end.onnx', providers=['CPUExecutionProvider']
        )
        (output,) = session.run(None, {'x': inputs})
        name = model.graph.output[0].name
        np.savez(tmp_path / 'r.npz', input=inputs, **{name: output})
        keys = ('min', 'opt', 'max')
        shapes = {key: [size, 3, 8, 8] for key, size in zip(keys, batch, strict=True)}
        spec = dict(
            onnx='end2end.onnx',
            engine='end2end.engine',
            reference='r.npz',
            precision=precision,
            tf32=False,
            workspace=1 << 20,
            inputs={'x': shapes},
            outputs=[name],
        )
        (tmp_path / trt.JSON).write_text(json.dumps(spec))
        return tmp_path

    return write


def run(folder, monkeypatch, *flags):
    monkeypatch.setattr(sys, 'argv', ['build_engine', str(folder), *flags])
    return trt.main()


# -------------------------------------------------------- the whole script
@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('precision', PRECISIONS)
def test_an_engine_is_made_run_compared_and_timed(
    gpu, folder, monkeypatch, capsys, version, precision
):
    gpu(version)
    place = folder(precision)
    assert run(place, monkeypatch, '--runs', '31') == 0
    text = capsys.readouterr().out
    assert f'TensorRT {version}, a GPU of the tests' in text
    assert re.search(rf'{precision} engine of 0\.\d\d MB in \d+ s', text)
    assert re.search(r'largest difference \S+ of 0\.\d+', text)
    assert re.search(r'median of 31 runs \d+\.\d\d ms, of 1 image,', text)
    assert (place / 'end2end.engine').is_file()
    assert not list(place.glob('*.unfinished'))
    ((made, config),) = fake_tensorrt.Builder.made
    assert config.workspace == 1 << 20
    assert 'TF32' not in config.flags
    assert made.typed == (version[0] != '8')
    if made.typed:
        assert not config.flags


def test_what_tensorrt_8_6_may_use(gpu, folder, monkeypatch):
    gpu('8.6.1')
    wanted = {
        'fp32': set(),
        'fp16': {'FP16', 'PREFER_PRECISION_CONSTRAINTS'},
        'int8': {'INT8'},
    }
    for precision, flags in wanted.items():
        assert run(folder(precision), monkeypatch) == 0
        made, config = fake_tensorrt.Builder.made[-1]
        assert config.flags == flags
        pinned = {layer.name for layer in made.layers if layer.precision is not None}
        assert any('Softmax' in name for name in pinned) == (precision == 'fp16')
        assert not any('Conv' in name for name in pinned)


@pytest.mark.parametrize('version', VERSIONS)
def test_several_images_a_run(gpu, folder, monkeypatch, capsys, version):
    gpu(version)
    place = folder(batch=(1, 2, 4))
    assert run(place, monkeypatch) == 0
    assert 'of 2 images' in capsys.readouterr().out
    engine = trt.Engine((place / 'end2end.engine').read_bytes())
    rng = np.random.default_rng(5)
    images = rng.normal(size=(4, 3, 8, 8)).astype(np.float32)
    (name,) = engine.outputs
    singles = [engine(images[i : i + 1])[name] for i in range(4)]
    together = engine(images)[name]  # more memory than before
    np.testing.assert_allclose(np.concatenate(singles), together, atol=1e-6)
    with pytest.raises(trt.EngineError, match=r'\(1, 3, 8, 8\) to \(4, 3,'):
        engine(np.zeros((5, 3, 8, 8), np.float32))
    memory = fake_cuda.DRIVER.memory
    assert len(memory) == 2  # what was outgrown has been given back
    del engine
    assert not memory


def test_a_wrong_engine_is_told_from_a_right_one(gpu, folder, monkeypatch, capsys):
    gpu()
    place = folder()
    other = network('fp32')
    values = onnx.numpy_helper.to_array(other.graph.initializer[0])
    other.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(
            values * np.float32(1.3), other.graph.initializer[0].name
        )
    )
    onnx.save(other, place / 'end2end.onnx')
    assert run(place, monkeypatch) == 1
    assert 'computes something else' in capsys.readouterr().err


def test_the_launcher_of_the_repository_is_the_same(
    gpu, folder, monkeypatch, run_tool, capsys
):
    gpu()
    assert run_tool('build_engine', folder()) == 0
    assert 'median of 100 runs' in capsys.readouterr().out


@pytest.mark.parametrize('version', VERSIONS)
def test_building_calls_no_cuda(gpu, folder, version):
    gpu(version, fails=tuple(trt._CUDA))
    place = folder()
    assert trt.build(place, trt.read(place))


# ---------------------------------------------- TensorRT for RTX, see test_rtx.py
def with_rtx(gpu, monkeypatch, version='1.7.1.116'):
    """Have TensorRT for RTX, by the stand-in, and no GPU."""
    library = types.ModuleType('tensorrt_rtx')
    vars(library).update(vars(gpu('10.16.1.11', fails=tuple(trt._CUDA))))
    library.__version__ = version
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    monkeypatch.setitem(sys.modules, 'tensorrt_rtx', library)


def test_an_engine_for_rtx_is_made_without_a_gpu_and_run(
    gpu, folder, monkeypatch, capsys
):
    with_rtx(gpu, monkeypatch)
    place = folder('fp16')
    assert run(place, monkeypatch, '--rtx') == 0
    text = capsys.readouterr().out
    assert 'TensorRT for RTX 1.7.1.116' in text
    assert 'was not run' in text
    assert (place / 'end2end.rtx.engine').is_file()
    assert not (place / 'end2end.engine').exists()
    monkeypatch.setattr(fake_cuda, 'DRIVER', fake_cuda.Driver(()))
    network = TensorRT([place / 'end2end.onnx'])  # takes the one that there is
    assert network.version == '1.7.1.116'
    with np.load(place / 'r.npz') as arrays:
        found = network(arrays['input'])
        assert all(np.allclose(found[name], arrays[name]) for name in found)


@pytest.mark.parametrize('version', ['', '2.0.0'])
def test_rtx_is_not_there(gpu, folder, monkeypatch, capsys, version):
    with_rtx(gpu, monkeypatch, version)
    if not version:
        monkeypatch.setitem(sys.modules, 'tensorrt_rtx', None)
    monkeypatch.setattr(sys, 'argv', ['build_engine', str(folder()), '--rtx'])
    assert trt.main() == 2
    text = capsys.readouterr().err
    assert (version or 'pip install tensorrt-rtx-cu12') in text


def test_capabilities_are_those_of_an_rtx_engine(folder, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run(folder(), monkeypatch, '--capability', '8.6')
    assert ended.value.code == 2
    assert '--capability needs --rtx' in capsys.readouterr().err


# --------------------------------------------------------------- stand-alone
def test_it_imports_tensorrt_numpy_and_the_standard_library():
    found = set()
    for node in ast.walk(ast.parse(FILE.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    found = {name.partition('.')[0] for name in found}
    assert found - sys.stdlib_module_names == {'numpy', 'tensorrt', 'tensorrt_rtx'}


def test_a_copy_of_the_one_file_runs_in_a_folder(folder, tmp_path):
    """Another process, which has the copy, numpy and the stand-ins."""
    place = folder('fp16')
    (place / 'build_engine.py').write_bytes(FILE.read_bytes())
    packages = tmp_path / 'packages/tensorrt'
    packages.mkdir(parents=True)
    (packages / '__init__.py').write_text(
        'import ctypes, sys\n'
        f'sys.path.append({str(STUBS.parent)!r})\n'
        'import fake_cuda, fake_tensorrt\n'
        'ctypes.CDLL = fake_cuda.load\n'
        "sys.modules['tensorrt'] = fake_tensorrt.make('11.4.0.106')\n"
    )
    done = subprocess.run(
        [sys.executable, 'build_engine.py'],
        cwd=place,
        env={'PYTHONPATH': str(packages.parent), 'PATH': ''},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'TensorRT 11.4.0.106' in done.stdout


# ------------------------------------------------------------------ messages
def message(folder, monkeypatch, capsys):
    assert run(folder, monkeypatch) == 2
    found = capsys.readouterr()
    assert found.err.startswith('error: ')
    assert found.err.count('\n') == 1
    return found.err


def test_no_tensorrt(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    text = message(folder(), monkeypatch, capsys)
    assert 'TensorRT cannot be imported' in text
    assert 'pip install tensorrt' in text


@pytest.mark.parametrize('version', ['8.5.3.1', '9.3.0', '12.0.0.1', '7.2'])
def test_a_version_that_is_not_known(gpu, folder, monkeypatch, capsys, version):
    gpu().__version__ = version
    text = message(folder(), monkeypatch, capsys)
    assert f'TensorRT is {version}' in text
    assert '8.6, 10 and 11' in text


def test_no_driver(gpu, folder, monkeypatch, capsys):
    gpu()

    def refuse(name):
        raise OSError(f'{name}: cannot open shared object file')

    monkeypatch.setattr(ctypes, 'CDLL', refuse)
    text = message(folder(), monkeypatch, capsys)
    assert 'there is no NVIDIA driver here' in text


def test_no_gpu(gpu, folder, monkeypatch, capsys):
    gpu(fails=('cuInit',))
    text = message(folder(), monkeypatch, capsys)
    assert 'answers cuInit with error 100' in text
    assert 'nvidia-smi' in text


@pytest.mark.parametrize('kind', ['Builder', 'Runtime'])
def test_a_driver_that_is_too_old(gpu, folder, monkeypatch, capsys, kind):
    def refuse(logger):  # as the published bindings do
        raise TypeError('pybind11::init(): factory function returned nullptr')

    setattr(gpu(), kind, refuse)
    text = message(folder(), monkeypatch, capsys)
    assert 'TensorRT cannot start on this GPU' in text
    assert 'returned nullptr' in text


def test_an_operator_that_tensorrt_lacks(gpu, folder, monkeypatch, capsys):
    gpu()
    place = folder()
    model = onnx.load(place / 'end2end.onnx')
    model.graph.node[0].domain = 'mnv2_mm'
    onnx.save(model, place / 'end2end.onnx')
    text = message(place, monkeypatch, capsys)
    assert 'does not accept end2end.onnx: No importer registered' in text
    assert not (place / 'end2end.engine').exists()


def test_an_engine_that_cannot_be_built(gpu, folder, monkeypatch, capsys):
    gpu('8.6.1')  # refuses a graph in int8 that is said to be in fp32
    place = folder('int8')
    text = (place / trt.JSON).read_text()
    (place / trt.JSON).write_text(text.replace('"int8"', '"fp32"'))
    text = message(place, monkeypatch, capsys)
    assert 'lower "workspace" in end2end.trt.json' in text


def test_an_engine_of_another_tensorrt(gpu, folder, monkeypatch):
    gpu('10.16.1.11')
    place = folder()
    assert run(place, monkeypatch) == 0
    gpu('11.4.0.106')
    with pytest.raises(trt.EngineError, match='made by another TensorRT'):
        trt.Engine((place / 'end2end.engine').read_bytes())


@pytest.mark.parametrize('lacking', [trt.JSON, 'r.npz', 'end2end.onnx'])
def test_a_folder_that_lacks_a_file(gpu, folder, monkeypatch, capsys, lacking):
    gpu()
    place = folder()
    (place / lacking).unlink()
    assert lacking in message(place, monkeypatch, capsys)


@pytest.mark.parametrize('name', ['../end2end.onnx', '/etc/passwd', '..\\a.onnx', 5])
@pytest.mark.parametrize('key', ['onnx', 'reference', 'engine'])
def test_names_of_other_folders_are_refused(folder, key, name):
    place = folder()
    spec = json.loads((place / trt.JSON).read_text())
    (place / trt.JSON).write_text(json.dumps(spec | {key: name}))
    with pytest.raises(trt.EngineError, match='another folder'):
        trt.read(place)
    (place / trt.JSON).write_text('{"onnx": ')
    with pytest.raises(trt.EngineError, match='is damaged'):
        trt.read(place)


# ---------------------------------------------------------------- comparison
def detections(*rows):
    dets = np.float32([row[:5] for row in rows])[None]
    return {'dets': dets, 'labels': np.array([[row[5] for row in rows]])}


def test_the_order_of_detections_does_not_count():
    first = [10, 10, 50, 50, 0.9, 1], [60, 60, 80, 90, 0.8, 0]
    wanted, found = detections(*first), detections(*first[::-1])
    (line,), good = trt.compare(wanted, found, 'fp32')
    assert good
    assert '2 of 2 detections over 0.05 found' in line
    found['labels'] = 1 - found['labels']
    assert not trt.compare(wanted, found, 'fp32')[1]
    twice = detections(first[0], first[0])
    (line,), good = trt.compare(twice, wanted, 'fp32')
    assert '1 of 2' in line  # one is not found for two
    assert not good
    empty = detections([0] * 5 + [-1], [0] * 5 + [-1])
    assert trt.compare(empty, empty, 'fp32')[1]
    (line,), good = trt.compare(empty, wanted, 'fp32')
    assert '0 of 0 detections over 0.05 found and 2 more' in line
    assert not good
    found = detections(*first)
    found['dets'][0, :, 0] = np.nan
    assert not trt.compare(wanted, found, 'fp32')[1]


@pytest.mark.parametrize(
    ('change', 'good'),
    [
        (lambda x: x, True),
        (lambda x: x * np.float32(1.001), True),
        (lambda x: x * np.float32(1.02), False),
        (lambda x: x * np.nan, False),
        (lambda x: x[:, :2], False),
    ],
)
def test_numbers_are_compared_with_the_largest(change, good):
    wanted = {'output': np.float32([[1, -4, 2]])}
    found = {'output': change(wanted['output'])}
    assert trt.compare(wanted, found, 'fp32')[1] == good


def test_classes_are_counted():
    wanted = {'output': np.arange(1000).reshape(1, 1, 20, 50)}
    found = {'output': wanted['output'].astype(np.int32)}
    assert trt.compare(wanted, found, 'fp32')[1]
    found['output'][0, 0, 0, :10] += 1
    (line,), good = trt.compare(wanted, found, 'fp32')
    assert '1.000%' in line
    assert not good
    assert not trt.compare(wanted, {'other': found['output']}, 'fp32')[1]


# ------------------------------------------------------------------ the stubs
def test_the_stub_is_what_is_installed():
    """Where NVIDIA's package is installed, its signatures are the stub's."""
    pytest.importorskip('tensorrt', reason='TensorRT is not installed')
    import tensorrt

    major = tensorrt.__version__.partition('.')[0]
    names = {v.partition('.')[0]: name for v, name in VERSIONS.items()}
    tree = ast.parse((STUBS / f'tensorrt_{names[major]}.pyi').read_text())
    checked = 0
    for item in tree.body:
        if not isinstance(item, ast.ClassDef):
            continue
        real = getattr(tensorrt, item.name)
        for line in item.body:
            if isinstance(line, ast.Assign):
                member = getattr(real, line.targets[0].id)
                assert int(member) == line.value.value
            elif isinstance(line, ast.FunctionDef):
                member = getattr(real, line.name)
                if not line.decorator_list:
                    arguments = [a.arg for a in line.args.args[1:]]
                    assert _declares(member.__doc__, arguments), line.name
            checked += 1
    assert checked > 40


def _declares(text, arguments):
    """Whether a docstring of pybind11 has a signature that takes these."""
    for line in text.splitlines():
        if re.match(r'(\d+\. )?\w+\(self', line):
            parts = re.split(r', (?=\w+:)', line.partition(' -> ')[0])[1:]
            names = [part.partition(':')[0] for part in parts]
            rest = parts[len(arguments) :]
            if names[: len(arguments)] == arguments and all(
                ' = ' in part for part in rest
            ):
                return True
    return False
