"""Builds of tiny random networks: tools/deploy.py, run_build.py, test.py."""

import json
import subprocess
import sys
from pathlib import Path

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

from mnv2_mm.apis import init_model, predict
from mnv2_mm.builds import Build
from mnv2_mm.deploy.compare import difference, match, plain
from mnv2_mm.deploy.detection import nms_rules
from mnv2_mm.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs/deploy'
KEYS = {'det': 'coco/bbox_mAP', 'seg': 'mIoU', 'cls': 'accuracy/top1'}
STANDARD = {'', 'ai.onnx'}


@pytest.fixture(scope='module')
def network(tiny_config, tiny_data, tmp_path_factory):
    """Config, checkpoint and a picture for a task; scores well apart."""
    made = {}

    def get(task):
        if task not in made:
            config = tiny_config(task)
            torch.manual_seed(3)
            model = init_model(config)
            for module in model.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.3, 1.5)
            path = tmp_path_factory.mktemp(task) / 'random.pth'
            meta = {'dataset_meta': model.dataset_meta}
            weights = model.state_dict()
            for name in weights:
                if 'cls_convs' in name and name.endswith('.1.weight'):
                    weights[name] = weights[name] * 20
            torch.save({'state_dict': weights, 'meta': meta}, path)
            image = sorted((tiny_data / 'images/val').glob('*'))[0]
            made[task] = config, path, image
        return made[task]

    return get


@pytest.fixture(scope='module')
def built(network, run_tool, tmp_path_factory):
    """Folder of the build of a task by a deploy config."""
    made = {}

    def get(task, kind='static', **options):
        key = task, kind, *options
        if key not in made:
            config, checkpoint, image = network(task)
            folder = tmp_path_factory.mktemp('build') / 'new'
            flags = [f'{k}={v}' for k, v in options.items()]
            code = run_tool(
                'deploy',
                CONFIGS / f'{task}_onnxruntime_{kind}.py',
                config,
                checkpoint,
                image,
                '--work-dir',
                folder,
                *(['--cfg-options', *flags] if flags else []),
            )
            assert code == 0
            made[key] = folder
        return made[key]

    return get


SEG = {'ir_config.input_shape': '[128,128]'}
BUILDS = [
    ('det', 'static', {}),
    ('det', 'dynamic', {}),
    ('seg', 'static_513', SEG),
    ('seg', 'dynamic', {}),
    ('cls', 'static', {}),
    ('cls', 'dynamic', {}),
]


@pytest.mark.parametrize(
    ('task', 'kind', 'options'), BUILDS, ids=lambda v: str(v)[:10]
)
def test_the_runner_predicts_as_pytorch(network, built, task, kind, options):
    config, checkpoint, image = network(task)
    picture = cv2.imread(str(image))
    if kind == 'static_513':  # stretched to its size, as the build is
        picture = cv2.resize(picture, (128, 128))
    wanted = plain(predict(init_model(config, checkpoint), picture))
    found = Build(built(task, kind, **options))(picture)
    if task == 'det':
        counted, matched, box, score = match(wanted, found)
        assert counted == matched == len(found['scores'])
        assert counted > 5
        assert box < 0.01
        assert score < 1e-4
    elif task == 'seg':
        wanted, found = wanted['mask'], found['mask']
        assert wanted.shape == found.shape == picture.shape[:2]
        assert (wanted != found).mean() <= 20 / 512**2
        assert len(np.unique(wanted)) > 1
    else:
        gap = wanted['probabilities'] - found['probabilities']
        assert np.abs(gap).max() < 1e-5


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_a_batch_is_as_its_pictures(built, tiny_data, task):
    build = Build(built(task, 'dynamic'))
    from mnv2_mm.builds.preprocess import prepare

    files = sorted((tiny_data / 'images/val').glob('*'))[:3]
    singles = [
        prepare(cv2.imread(str(file)), build.info['preprocessing'])[0]
        for file in files
    ]
    together = build.network(np.concatenate(singles))
    for i, single in enumerate(singles):
        for name, value in build.network(single).items():
            np.testing.assert_allclose(
                together[name][i], value[0], rtol=1e-4, atol=2e-4
            )


def test_sizes_that_no_padding_was_frozen_for(network, built):
    """A dynamic segmentor at sizes of other parities than the export's."""
    config, checkpoint, _ = network('seg')
    build = Build(built('seg', 'dynamic'))
    model = init_model(config, checkpoint)
    rng = np.random.default_rng(0)
    for side in (97, 64, 130):
        pixels = rng.normal(size=(1, 3, side, side)).astype(np.float32)
        (found,) = build.network(pixels).values()
        with torch.no_grad():
            wanted = model(torch.from_numpy(pixels)).numpy()
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_what_a_build_holds(built, task):
    options = SEG if task == 'seg' else {}
    folder = built(task, 'static_513' if options else 'static', **options)
    names = {file.name for file in folder.iterdir()}
    assert names == {
        'build.json',
        'comparison.jpg',
        'deploy_config.py',
        'end2end.onnx',
    }
    model = onnx.load(folder / 'end2end.onnx')
    assert {node.domain for node in model.graph.node} <= STANDARD
    assert [o.version for o in model.opset_import] == [13]
    kinds = {node.op_type for node in model.graph.node}
    # sizes are numbers, and the padding is the convolutions'
    assert not kinds & {'Constant', 'ConstantOfShape'}
    assert ('Pad' in kinds) == (task == 'det')  # the list of detections
    info = json.loads((folder / 'build.json').read_text())
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert info['input']['shape'] == [d.dim_value for d in shape]
    assert info['preprocessing']['mean'] == [127.5] * 3
    assert info['precision'] == 'fp32'
    for output in model.graph.output:
        assert all(d.dim_value for d in output.type.tensor_type.shape.dim)
    wide = cv2.imread(str(folder / 'comparison.jpg'))
    assert wide.shape[1] == 2 * 64 + 8


def test_the_runner_imports_neither_torch_nor_openmmlab(built, tiny_data):
    image = sorted((tiny_data / 'images/val').glob('*'))[0]
    folder = built('det')
    code = (
        'import sys, runpy\n'
        f'sys.argv = ["run_build", {str(folder)!r}, {str(image)!r}, '
        f'"--out", {str(folder.parent / "drawn.png")!r}]\n'
        'try:\n'
        f'    runpy.run_path({str(ROOT / "tools/run_build.py")!r}, '
        'run_name="__main__")\n'
        'except SystemExit as end:\n'
        '    assert not end.code, end.code\n'
        'found = [m for m in sys.modules if m.partition(".")[0] in '
        '("torch", "mmengine", "mmcv", "mmdet", "mmdeploy", "onnx")]\n'
        'assert not found, found\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'drawn to' in done.stdout
    assert (folder.parent / 'drawn.png').is_file()


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_evaluation_gives_the_figures_of_pytorch(
    network, built, run_tool, tmp_path, task
):
    config, checkpoint, _ = network(task)
    figures = []
    for what in (checkpoint, built(task, 'dynamic')):
        flags = ['--work-dir', tmp_path / what.name]
        assert run_tool('test', config, what, *flags) == 0
        text = (tmp_path / what.name / 'metrics.json').read_text()
        figures.append(json.loads(text)['metrics'])
    assert KEYS[task] in figures[0]
    for key, value in figures[0].items():
        if 'time' not in key:
            assert figures[1][key] == pytest.approx(value, abs=0.02)


def deploy(run_tool, work_dir, *arguments):
    return run_tool('deploy', *arguments, '--work-dir', work_dir)


def test_mistakes_are_named_and_leave_nothing(
    network, run_tool, tmp_path, capfd
):
    config, checkpoint, image = network('cls')
    cases = [
        ('det_onnxruntime_static', image, 'is for models of mmdet'),
        ('cls_onnxruntime_static', 'no.jpg', 'there is no picture no.jpg'),
        ('cls_onnxruntime_static', checkpoint, 'cannot be read as a picture'),
    ]
    for name, picture, message in cases:
        work_dir = tmp_path / 'new'
        code = deploy(
            run_tool,
            work_dir,
            CONFIGS / f'{name}.py',
            config,
            checkpoint,
            picture,
        )
        assert code == 2
        assert message in capfd.readouterr().err
        assert not work_dir.exists()


def test_a_checkpoint_of_other_classes(
    network, run_tool, tiny_config, tmp_path, capfd
):
    _, checkpoint, image = network('cls')
    other = tiny_config(
        'cls', "model['head']['num_classes'] = 7", name='seven'
    )
    (tmp_path / 'kept.txt').write_text('of the user')
    code = deploy(
        run_tool,
        tmp_path,
        CONFIGS / 'cls_onnxruntime_static.py',
        other,
        checkpoint,
        image,
    )
    assert code == 2
    assert '7' in capfd.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ['kept.txt']


def test_a_work_dir_that_cannot_be(network, run_tool, tmp_path, capfd):
    config, checkpoint, image = network('cls')
    (tmp_path / 'file').write_text('')
    code = deploy(
        run_tool,
        tmp_path / 'file/inside',
        CONFIGS / 'cls_onnxruntime_static.py',
        config,
        checkpoint,
        image,
    )
    assert code == 2
    assert 'cannot be written to' in capfd.readouterr().err


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'nms': dict(type='soft_nms')}, "type='soft_nms'"),
        ({'nms': None}, 'type=None'),
        (
            {'nms': dict(type='nms', class_agnostic=True, iou_threshold=1)},
            'class_agnostic=True',
        ),
        ({'max_per_img': -1}, 'max_per_img is -1'),
        ({'max_per_img': 4000}, 'max_per_img is 4000'),
    ],
)
def test_nms_beyond_standard_operators(changes, message):
    test_cfg = dict(
        nms=dict(type='nms', iou_threshold=0.5), max_per_img=100, score_thr=0
    )
    with pytest.raises(InputError, match=message):
        nms_rules(test_cfg | changes)


def test_decoding_is_mmdets():
    """Codes far beyond what is clamped, boxes far beyond the picture."""
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

    from mnv2_mm.deploy.detection import decode

    torch.manual_seed(0)
    corners = torch.rand(500, 2) * 90
    priors = torch.cat([corners, corners + 1 + torch.rand(500, 2) * 40], 1)
    codes = torch.randn(1, 500, 4) * 30
    for means in ((0.0, 0.0, 0.0, 0.0), (0.1, -0.2, 0.3, 0.0)):
        coder = DeltaXYWHBBoxCoder(means, (0.1, 0.1, 0.2, 0.2))
        wanted = coder.decode(priors, codes[0], max_shape=(80, 100))
        found = decode(coder, priors, codes, (100, 80))
        assert torch.equal(found[0], wanted)


def test_a_decoded_box_by_hand():
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

    from mnv2_mm.deploy.detection import decode

    coder = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    # a box of 20x40 at (30, 40): moved by 0.1 of its width, as wide as
    # before, twice as high: 2 = exp(0.2 * 3.4657359)
    prior = torch.tensor([[20.0, 20.0, 40.0, 60.0]])
    code = torch.tensor([[[1.0, 0.0, 0.0, 3.4657359]]])
    (box,) = decode(coder, prior, code, (100, 75))[0]
    assert box.tolist() == pytest.approx([22, 0, 42, 75], abs=1e-4)


def test_matching_counts_what_is_missing():
    first = dict(
        boxes=np.float32([[0, 0, 10, 10], [50, 50, 60, 60]]),
        scores=np.float32([0.9, 0.04]),
        labels=np.array([1, 1]),
    )
    moved = dict(first, boxes=first['boxes'] + np.float32(0.5))
    assert match(first, moved) == (1, 1, 0.5, 0.0)
    assert match(first, moved, least=0.01) == (2, 2, 0.5, 0.0)
    renamed = dict(first, labels=np.array([2, 1]))
    assert match(first, renamed)[:2] == (1, 0)
    assert '0 of 1 boxes' in difference(first, renamed)


# -------------------------------------------------------------- eight bits
@pytest.mark.parametrize(
    'task', ['cls', pytest.param('det', marks=pytest.mark.slow)]
)
def test_int8_is_calibrated_with_training_pictures(network, built, task):
    _, _, image = network(task)
    picture = cv2.imread(str(image))
    folder = built(task, 'int8_static')
    build = Build(folder)
    assert build.info['precision'] == 'int8'
    graph = onnx.load(folder / 'end2end.onnx').graph
    # every convolution reads what a DequantizeLinear gives
    makers = {
        name: node.op_type for node in graph.node for name in node.output
    }
    inputs = [n.input[0] for n in graph.node if n.op_type == 'Conv']
    assert {makers[name] for name in inputs} == {'DequantizeLinear'}
    size = (folder / 'end2end.onnx').stat().st_size
    assert size < 0.6 * (built(task) / 'end2end.onnx').stat().st_size
    found, wanted = build(picture), Build(built(task))(picture)
    if task == 'cls':
        gap = np.abs(found['probabilities'] - wanted['probabilities'])
        assert 0 < gap.max() < 0.02
    else:
        counted, matched, _, _ = match(wanted, found)
        assert matched > 0.8 * counted


def test_int8_without_a_training_set(network, run_tool, tmp_path, capfd):
    config, checkpoint, image = network('cls')
    code = deploy(
        run_tool,
        tmp_path / 'new',
        CONFIGS / 'cls_onnxruntime_int8_static.py',
        config,
        checkpoint,
        image,
        '--model-options',
        'train_dataloader.dataset.data_root=nowhere',
    )
    assert code == 2
    assert 'calibrated with training pictures' in capfd.readouterr().err
    assert not (tmp_path / 'new').exists()


def test_mmdeploys_own_calls_take_the_configs(network, built, tmp_path):
    """What mmdeploy's tools call, with the configs by their paths."""
    from mmdeploy.apis import inference_model, torch2onnx
    from mmdeploy.apis.utils import to_backend
    from mmengine.config import Config

    config, checkpoint, image = network('cls')
    path = str(CONFIGS / 'cls_onnxruntime_static.py')
    torch2onnx(
        str(image),
        str(tmp_path),
        'end2end.onnx',
        path,
        str(config),
        str(checkpoint),
        'cpu',
    )
    files = to_backend(
        'onnxruntime',
        [str(tmp_path / 'end2end.onnx')],
        str(tmp_path),
        Config.fromfile(path),
    )
    (sample,) = inference_model(
        str(config), path, list(files), str(image), 'cpu'
    )
    wanted = Build(built('cls'))(cv2.imread(str(image)))
    np.testing.assert_allclose(
        sample.pred_score.numpy(), wanted['probabilities'], atol=1e-6
    )
