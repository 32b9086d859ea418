"""Exported models of tiny random networks predict and evaluate as PyTorch does."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

import onnx

from mnv2_mm.api import init_model, predict
from mnv2_mm.deploy.compare import match, plain
from mnv2_mm.deploy.evaluate import Evaluation
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.preprocess import prepare
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

pytest_plugins = ['deploy_networks']

KEYS = {'det': 'coco/bbox_mAP', 'seg': 'mIoU', 'cls': 'accuracy/top1'}
STANDARD = {'', 'ai.onnx'}
SLOW = pytest.mark.slow


SEG = {'ir_config.input_shape': '[96,96]'}
CLASSES = {'codebase_config.with_resize': 'True', 'codebase_config.with_argmax': 'True'}
WITHOUT_NMS = {
    'codebase_config.with_nms': 'False',
    'ir_config.output_names': '[boxes,scores]',
}
EXPORTS = [
    ('det', 'static', {}),
    ('det', 'static', WITHOUT_NMS),
    pytest.param('det', 'dynamic', {}, marks=SLOW),
    ('seg', 'static_513', SEG),
    pytest.param('seg', 'dynamic', {}, marks=SLOW),
    ('cls', 'static', {}),
    pytest.param('cls', 'dynamic', {}, marks=SLOW),
    ('det', 'ncnn_static', {}),
    # the same network as the next, less what follows its logits
    pytest.param('seg', 'ncnn_static_513', SEG, marks=SLOW),
    ('seg', 'ncnn_static_513', SEG | CLASSES),
    # classification has no layers that the others lack
    pytest.param('cls', 'ncnn_static', {}, marks=SLOW),
]


def check_outputs(model: ExportedModel) -> None:
    """model.json names the outputs of the files, in their shapes."""
    network = getattr(model.network, 'network', model.network)  # without NMS
    run = getattr(network, 'run', network)  # ncnn: its own blobs
    batch, *shape = model.info['input']['shape']
    shape = [batch or 1, *(side or 128 for side in shape)]
    found = run(np.zeros(shape, np.float32))
    assert set(found) == {output['name'] for output in model.info['outputs']}
    for output in model.info['outputs']:
        real = found[output['name']].shape[model.info['backend'] == 'ncnn' :]
        assert len(real) == len(output['shape'])
        pairs = zip(output['shape'], real, strict=True)
        assert all(stated in (None, side) for stated, side in pairs)
        assert output['meaning']


@pytest.mark.parametrize(
    ('task', 'kind', 'options'), EXPORTS, ids=lambda v: str(v)[:10]
)
def test_it_predicts_as_pytorch(network, built, task, kind, options):
    if kind.startswith('ncnn'):
        pytest.importorskip('ncnn')
    config, checkpoint, image = network(task)
    photo = cv2.imread(str(image))
    if kind.endswith('static_513'):  # stretched to its size, as in the export
        photo = cv2.resize(photo, (96, 96))
    wanted = plain(predict(init_model(config, checkpoint), photo))
    model = ExportedModel(built(task, kind, **options))
    check_outputs(model)
    found = model(photo)
    if task == 'det':
        counted, matched, box, score = match(wanted, found)
        assert counted == matched == len(found['scores'])
        assert counted > 5
        assert box < 0.01
        assert score < 1e-4
    elif task == 'seg':
        wanted, found = wanted['mask'], found['mask']
        assert wanted.shape == found.shape == photo.shape[:2]
        assert (wanted != found).mean() <= 20 / 512**2
        assert len(np.unique(wanted)) > 1
    else:
        gap = wanted['probabilities'] - found['probabilities']
        assert np.abs(gap).max() < 1e-5


@pytest.mark.parametrize(
    'task', [pytest.param('det', marks=SLOW), 'seg', pytest.param('cls', marks=SLOW)]
)
def test_a_batch_is_as_its_photos(built, tiny_data, task):
    model = ExportedModel(built(task, 'dynamic'))
    files = sorted((tiny_data / 'images/val').glob('*'))[:3]
    singles = [
        prepare(cv2.imread(str(file)), model.info['preprocessing'])[0] for file in files
    ]
    together = model.network(np.concatenate(singles))
    for i, single in enumerate(singles):
        for name, value in model.network(single).items():
            np.testing.assert_allclose(
                together[name][i], value[0], rtol=1e-4, atol=2e-4
            )


def test_sizes_that_no_padding_was_frozen_for(network, built):
    """A dynamic segmentor at sizes of other parities than the export's."""
    config, checkpoint, _ = network('seg')
    exported = ExportedModel(built('seg', 'dynamic'))
    model = init_model(config, checkpoint)
    rng = np.random.default_rng(0)
    for side in (97, 64, 130):
        pixels = rng.normal(size=(1, 3, side, side)).astype(np.float32)
        (found,) = exported.network(pixels).values()
        with torch.no_grad():
            wanted = model(torch.from_numpy(pixels)).numpy()
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_files_of_an_exported_model(built, task):
    options = SEG if task == 'seg' else {}
    folder = built(task, 'static_513' if options else 'static', **options)
    names = {file.name for file in folder.iterdir()}
    made = {'model.json', 'README.txt', 'comparison.jpg', 'deploy_config.py'}
    assert names == made | {'end2end.onnx'}
    model = onnx.load(folder / 'end2end.onnx')
    assert {node.domain for node in model.graph.node} <= STANDARD
    assert [o.version for o in model.opset_import] == [13]
    kinds = {node.op_type for node in model.graph.node}
    # sizes are numbers, and the padding is the convolutions'
    assert not kinds & {'Constant', 'ConstantOfShape', 'Pad'}
    info = json.loads((folder / 'model.json').read_text())
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert info['input']['shape'] == [d.dim_value for d in shape]
    assert info['preprocessing']['mean'] == [127.5] * 3
    assert info['precision'] == 'fp32'
    for output in model.graph.output:
        assert all(d.dim_value for d in output.type.tensor_type.shape.dim)
    wide = cv2.imread(str(folder / 'comparison.jpg'))
    assert wide.shape[1] > 2 * 480  # both are enlarged


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_evaluation_gives_the_figures_of_pytorch(
    network, built, run_tool, tmp_path, tiny_config, task
):
    """Training hooks of the config, which expect weights, are left out."""
    config, checkpoint, _ = network(task)
    folder = built(task, 'dynamic')
    deploy = tmp_path / 'copy/deploy_config.py'  # Python of a stranger
    shutil.copytree(folder, deploy.parent)
    deploy.write_text('raise SystemExit("this file has been run")')
    ema = "custom_hooks = [dict(type='EMAHook')]"
    with_hook = tiny_config(task, ema, name=f'{task}_ema')
    figures = []
    for cfg, what in ((config, checkpoint), (with_hook, deploy.parent)):
        flags = ['--work-dir', tmp_path / what.name]
        assert run_tool('test', cfg, what, *flags) == 0
        text = (tmp_path / what.name / 'metrics.json').read_text()
        figures.append(json.loads(text)['metrics'])
    assert KEYS[task] in figures[0]
    for key, value in figures[0].items():
        if 'time' not in key:
            assert figures[1][key] == pytest.approx(value, abs=0.02)


# -------------------------------------------------------------- eight bits
def test_no_input_of_another_size_is_evaluated(network, built, tmp_path):
    """ncnn would run it, and the figures would be those of another network."""
    config, _, _ = network('cls')
    evaluation = Evaluation(built('cls', 'static'), get_config(config))
    evaluation.cfg.work_dir = str(tmp_path)
    wrapper = evaluation.runner(evaluation.cfg).model.wrapper
    with pytest.raises(InputError, match='input of 8x9'):
        wrapper({'input': torch.zeros(1, 3, 9, 8)})


@pytest.mark.parametrize('task', ['cls', pytest.param('det', marks=SLOW)])
def test_int8_is_calibrated_with_training_photos(network, built, task):
    _, _, image = network(task)
    photo = cv2.imread(str(image))
    folder = built(task, 'int8_static')
    model = ExportedModel(folder)
    assert model.info['precision'] == 'int8'
    graph = onnx.load(folder / 'end2end.onnx').graph
    # every convolution reads what a DequantizeLinear gives
    makers = {name: node.op_type for node in graph.node for name in node.output}
    inputs = [n.input[0] for n in graph.node if n.op_type == 'Conv']
    assert {makers[name] for name in inputs} == {'DequantizeLinear'}
    size = (folder / 'end2end.onnx').stat().st_size
    assert size < 0.6 * (built(task) / 'end2end.onnx').stat().st_size
    found, wanted = model(photo), ExportedModel(built(task))(photo)
    if task == 'cls':
        gap = np.abs(found['probabilities'] - wanted['probabilities'])
        assert 0 < gap.max() < 0.02
    else:
        counted, matched, _, _ = match(wanted, found)
        assert matched > 0.8 * counted
