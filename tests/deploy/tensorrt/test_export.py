"""Tiny random networks exported for TensorRT, without TensorRT.

Where an engine is run it is tests/fake_tensorrt.py's: onnxruntime runs what
the calls of the published API have made of the ONNX file.
"""

import json
import re
import shutil
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

import fake_tensorrt
import onnx
from deploy_networks import CONFIGS
from mmengine.config import Config
from onnx_graphs import GraphBuilder, conv

from mnv2_mm.api import init_model, predict
from mnv2_mm.deploy.compare import match, plain
from mnv2_mm.deploy.tensorrt.backend import TensorrtManager
from mnv2_mm.deploy.tensorrt.files import profile
from mnv2_mm.runtime import tensorrt_engine
from mnv2_mm.runtime.description import File
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils.errors import InputError

pytest_plugins = ['deploy_networks', 'fake_tensorrt']

SEG = {'ir_config.input_shape': '[96,96]'}
SLOW = pytest.mark.slow  # a precision and its axes run with one task
EXPORTS = [
    pytest.param('det', 'static', '10.16.1.11', marks=SLOW),
    ('det', 'fp16_dynamic', '11.4.0.106'),
    pytest.param('seg', 'fp16_static_513', '8.6.1', marks=SLOW),
    pytest.param('cls', 'int8_static', '11.4.0.106', marks=SLOW),
    pytest.param('det', 'rtx_static', '11.4.0.106', marks=SLOW),
    pytest.param('det', 'dynamic', '8.6.1', marks=SLOW),
    pytest.param('det', 'fp16_static', '8.6.1', marks=SLOW),
    pytest.param('det', 'int8_static', '8.6.1', marks=SLOW),
    pytest.param('seg', 'static_513', '11.4.0.106', marks=SLOW),
    pytest.param('seg', 'dynamic_513', '10.16.1.11', marks=SLOW),
    pytest.param('seg', 'fp16_dynamic_513', '11.4.0.106', marks=SLOW),
    pytest.param('seg', 'int8_static_513', '10.16.1.11', marks=SLOW),
    pytest.param('cls', 'static', '8.6.1', marks=SLOW),
    pytest.param('cls', 'dynamic', '10.16.1.11', marks=SLOW),
    pytest.param('cls', 'fp16_static', '10.16.1.11', marks=SLOW),
    pytest.param('cls', 'fp16_dynamic', '8.6.1', marks=SLOW),
]
#: Pixels of boxes, scores, share of other pixels, probabilities. The networks
#: are random, so that classes compete as they do in no trained one.
BOUNDS = {
    'fp32': (0.01, 1e-4, 1e-3, 1e-5),
    'fp16': (0.5, 0.01, 0.05, 0.005),
    'int8': (32, 0.1, 0.6, 0.05),  # boxes: matched within 32 px or not
}


def precision_of(kind):
    first = kind.partition('_')[0]
    return first if first in BOUNDS else 'fp32'


def options_of(task):
    return SEG if task == 'seg' else {}


def copied(folder, tmp_path):
    """A copy of an exported model, which a test may change."""
    return shutil.copytree(folder, tmp_path / 'copied')


def converted(graph, folder, **options):
    """Convert an exported graph as the tool does; returns the folder."""
    folder.mkdir(exist_ok=True)
    cfg = Config.fromfile(CONFIGS / 'cls_tensorrt_fp16_dynamic.py')
    cfg.backend_config.update(options)
    file = shutil.copy(graph, folder)
    TensorrtManager.to_backend([file], str(folder), cfg)
    return folder


@pytest.mark.parametrize(('task', 'kind', 'version'), EXPORTS)
def test_an_engine_predicts_as_pytorch(
    network, built, gpu, tmp_path, task, kind, version
):
    config, checkpoint, image = network(task)
    photo = cv2.imread(str(image))
    if task == 'seg':  # stretched to its size, as by the exported model
        photo = cv2.resize(photo, (96, 96))
    folder = copied(built(task, f'tensorrt_{kind}', **options_of(task)), tmp_path)
    precision = precision_of(kind)
    gpu(version)
    assert tensorrt_engine.make(folder, runs=1)
    found = ExportedModel(folder)(photo)
    wanted = plain(predict(init_model(config, checkpoint), photo))
    pixels, score, share, shares = BOUNDS[precision]
    if task == 'det':
        counted, matched, far, gap = match(wanted, found)
        assert counted > 5
        assert matched >= counted * (1 if precision == 'fp32' else 0.9)
        assert far < pixels
        assert gap < score
    elif task == 'seg':
        assert (wanted['mask'] != found['mask']).mean() <= share
        assert len(np.unique(wanted['mask'])) > 1
    else:
        gap = np.abs(wanted['probabilities'] - found['probabilities'])
        assert gap.max() < shares
        assert precision == 'fp32' or gap.max() > 1e-7


@pytest.mark.parametrize(
    ('task', 'kind'),
    [
        pytest.param('det', 'static', marks=SLOW),
        ('det', 'fp16_dynamic'),
        pytest.param('seg', 'fp16_static_513', marks=SLOW),
        ('cls', 'int8_static'),
    ],
)
def test_files_of_an_exported_model(built, task, kind):
    folder = built(task, f'tensorrt_{kind}', **options_of(task))
    names = {file.name for file in folder.iterdir()}
    assert names >= {
        'model.json',
        'build_engine.py',
        'comparison.jpg',
        'deploy_config.py',
        'end2end.onnx',
        'end2end.reference.npz',
        'end2end.trt.json',
    }
    precision = precision_of(kind)
    info = json.loads((folder / 'model.json').read_text())
    assert [file['name'] for file in info['files']] == ['end2end.onnx']
    spec = json.loads((folder / 'end2end.trt.json').read_text())
    assert info['precision'] == spec['precision'] == precision
    (shapes,) = spec['inputs'].values()
    counts = [shapes[key][0] for key in ('min', 'opt', 'max')]
    assert counts == ([1, 4, 8] if 'dynamic' in kind else [1, 1, 1])
    assert all(s[1:] == info['input']['shape'][1:] for s in shapes.values())
    model = onnx.load(folder / 'end2end.onnx')
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {''}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type in (1, 7)
        dims = value.type.tensor_type.shape.dim
        assert all(dim.dim_value for dim in dims[1:])
    tensors = {t.name: t for t in model.graph.initializer}
    kinds = [node.op_type for node in model.graph.node]
    convs = [n for n in model.graph.node if n.op_type == 'Conv']
    plain = [n.input[1] for n in convs if n.input[1] in tensors]
    # in 8 bits weights are behind a pair of nodes, but for what is kept
    assert len(plain) == (3 if precision == 'int8' else len(convs))
    wanted = {10} if precision == 'fp16' else {1}
    assert {tensors[name].data_type for name in plain} == wanted
    assert ('QuantizeLinear' in kinds) == (precision == 'int8')
    if task == 'det':
        assert kinds.count('NonMaxSuppression') == 1
        (top,) = (n for n in model.graph.node if n.op_type == 'TopK')
        assert top.input[1] in tensors  # K is a constant
        (nms,) = (n for n in model.graph.node if 'NonMax' in n.op_type)
        assert set(nms.input[2:]) <= set(tensors)


def test_scales_of_int8_are_what_tensorrt_takes(built):
    model = onnx.load(built('cls', 'tensorrt_int8_static') / 'end2end.onnx')
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    pairs = [n for n in model.graph.node if n.op_type.endswith('izeLinear')]
    assert len(pairs) > 100
    for node in pairs:
        scale, zero = (tensors[name] for name in node.input[1:3])
        assert (scale > 0).all()
        assert zero.dtype == np.int8
        assert not zero.any()


@pytest.mark.slow
def test_nms_after_the_graph_is_nms_in_the_graph(network, built, tmp_path):
    """The config for RTX beside that for onnxruntime, which runs both files."""
    inside = built('det', 'static')
    outside = copied(built('det', 'tensorrt_rtx_static'), tmp_path)
    info = json.loads((outside / 'model.json').read_text())
    (outside / 'model.json').write_text(json.dumps(info | {'backend': 'onnxruntime'}))
    graph = onnx.load(outside / 'end2end.onnx').graph
    assert [output.name for output in graph.output] == ['boxes', 'scores']
    assert 'NonMaxSuppression' not in {node.op_type for node in graph.node}
    assert not info['thresholds']['in_graph']
    assert 'after the graph: score over' in (outside / 'README.txt').read_text()
    photo = cv2.imread(str(network('det')[2]))
    wanted, found = (ExportedModel(folder)(photo) for folder in (inside, outside))
    assert len(wanted['scores']) == 100
    assert wanted['labels'].tolist() == found['labels'].tolist()
    np.testing.assert_allclose(found['boxes'], wanted['boxes'], atol=1e-3)
    np.testing.assert_allclose(found['scores'], wanted['scores'], atol=1e-6)


def deploy(run_tool, network, work_dir, *flags, kind='static', task='cls'):
    config, checkpoint, image = network(task)
    return run_tool(
        'deploy',
        CONFIGS / f'{task}_tensorrt_{kind}.py',
        config,
        checkpoint,
        image,
        '--work-dir',
        work_dir,
        *flags,
    )


def test_without_tensorrt_the_tool_says_what_to_do(
    network, run_tool, tmp_path, capfd, monkeypatch
):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    assert deploy(run_tool, network, tmp_path / 'new') == 0
    text = capfd.readouterr().out
    assert 'no engine here (TensorRT is not installed)' in text
    assert 'what is measured is the ONNX file in onnxruntime' in text
    assert 'run `python build_engine.py` in it' in text
    assert not list((tmp_path / 'new').glob('*.engine'))


def test_with_tensorrt_the_engine_is_built_at_once(
    network, run_tool, tmp_path, capfd, gpu
):
    gpu('10.16.1.11')
    place = tmp_path / 'new'
    assert deploy(run_tool, network, place) == 0
    text = capfd.readouterr().out
    assert re.search(r'\nthe engine has \d+\.\d\d MB\n', text)
    assert 'no engine' not in text
    assert len(fake_tensorrt.Builder.made) == 1
    (engine,) = place.glob('end2end.*.engine')
    # what was compared with PyTorch is the engine
    assert float(text.split('largest difference ')[1].split()[0]) < 1e-5
    # another file: the engine of the first is not taken for its own
    converted(place / 'end2end.onnx', tmp_path / 'fp16')
    for file in (tmp_path / 'fp16').iterdir():
        shutil.copy(file, place)
    name = json.loads((place / 'end2end.trt.json').read_text())['engine']
    assert name != engine.name
    info = json.loads((place / 'model.json').read_text())
    files = [File.of(place / file['name']) for file in info['files']]
    info['files'] = [file.model_dump() for file in files]
    (place / 'model.json').write_text(json.dumps(info))
    # the runner and the evaluation run it too
    _, _, image = network('cls')
    out = ['--out', tmp_path / 'd.png']
    driver = fake_tensorrt.fake_cuda.DRIVER
    before = driver.next  # address of the last memory
    assert run_tool('run_exported', place, image, *out) == 0
    assert driver.next > before
    before, config = driver.next, network('cls')[0]
    assert run_tool('test', config, place, '--work-dir', tmp_path / 't') == 0
    assert driver.next > before


def test_an_exported_model_without_its_engine(
    network, built, run_tool, tmp_path, gpu, capfd, monkeypatch
):
    folder = copied(built('cls', 'tensorrt_int8_static'), tmp_path)
    _, _, image = network('cls')
    out = ['--out', tmp_path / 'drawn.png']
    gpu()
    for engine in folder.glob('*.engine'):
        engine.unlink()
    assert run_tool('run_exported', folder, image, *out) == 2
    text = capfd.readouterr().err
    assert 'has no engine yet' in text
    assert 'run `python build_engine.py` in it' in text
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    assert run_tool('run_exported', folder, image, *out) == 2
    assert 'needs tensorrt, which is not installed' in capfd.readouterr().err
    # evaluation takes the ONNX file then, on the CPU
    config = network('cls')[0]
    assert run_tool('test', config, folder, '--work-dir', tmp_path / 't') == 0
    text = capfd.readouterr().out
    assert text.count('what is measured is the ONNX file') == 1


@pytest.mark.parametrize(
    ('option', 'value', 'message'),
    [
        ('precision', 'int4', 'tensorrt has fp32, fp16, int8'),
        ('batch', dict(min=1, opt=4, max=0), 'it takes numbers of images as dict'),
        ('keep_float', ['/no/*'], "'/no/\\*', which names no"),
    ],
)
def test_a_mistake_is_named(built, tmp_path, option, value, message):
    graph = built('cls', 'dynamic') / 'end2end.onnx'
    with pytest.raises(InputError, match=message) as raised:
        converted(graph, tmp_path, **{option: value})
    assert '\n' not in str(raised.value)


def test_an_unknown_tensorrt_is_none(built, tmp_path, gpu):
    gpu().__version__ = '9.3.0'
    folder = converted(built('cls', 'dynamic') / 'end2end.onnx', tmp_path)
    text = TensorrtManager.note(folder)
    assert 'no engine here (TensorRT is 9.3.0' in text


def test_onnxruntime_is_needed(network, run_tool, tmp_path, capfd, monkeypatch):
    from mnv2_mm.utils import compat

    real = compat.installed
    monkeypatch.setattr(compat, 'installed', lambda n: n != 'onnxruntime' and real(n))
    assert deploy(run_tool, network, tmp_path / 'n') == 2
    text = capfd.readouterr().err
    assert 'onnxruntime is not installed' in text
    assert 'the export for tensorrt needs it' in text


def test_shapes_of_a_profile():
    b = GraphBuilder(1, 3, 8, 8)
    conv(b, 'x', 3, 4)
    batch = dict(min=1, opt=2, max=3)
    found = profile(b.model(shape=('batch', 3, 8, 8)), batch)
    assert found == {
        'x': {'min': [1, 3, 8, 8], 'opt': [2, 3, 8, 8], 'max': [3, 3, 8, 8]}
    }
    assert profile(b.model(), batch)['x']['max'] == [1, 3, 8, 8]
    with pytest.raises(InputError, match='leaves height and width open'):
        profile(b.model(shape=('batch', 3, 'height', 8)), batch)
    for wrong in (dict(min=2, opt=1, max=3), dict(min=1), dict(max='8')):
        with pytest.raises(InputError, match='takes numbers of images'):
            profile(b.model(), wrong)
