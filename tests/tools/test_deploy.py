"""Exported models: the tools' messages, the runtime's imports, boxes and NMS."""

import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('onnxruntime', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from deploy_networks import CONFIGS
from mmdeploy.backend.base import get_backend_manager

from mnv2_mm.api import init_model, predict
from mnv2_mm.deploy.calibrate import calibration_inputs
from mnv2_mm.deploy.compare import largest_difference, match, plain
from mnv2_mm.deploy.detection import nms_rules
from mnv2_mm.deploy.export import earlier_files
from mnv2_mm.models.ssdlite.decoding import decode
from mnv2_mm.runtime.machine import cores
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

pytest_plugins = ['deploy_networks']

ROOT = Path(__file__).resolve().parents[2]
SLOW = pytest.mark.slow  # another backend or task in the same code


@pytest.mark.parametrize('kind', ['static', 'ncnn_static'])
def test_the_runner_imports_neither_torch_nor_openmmlab(
    built, tiny_data, tmp_path, kind
):
    image = sorted((tiny_data / 'images/val').glob('*'))[0]
    folder = built('det', kind)
    code = (
        'import sys, runpy\n'
        f'sys.argv = ["run_exported", {str(folder)!r}, {str(image)!r}, '
        f'"--out", {str(tmp_path / "drawn.png")!r}]\n'
        'try:\n'
        f'    runpy.run_path({str(ROOT / "tools/run_exported.py")!r}, '
        'run_name="__main__")\n'
        'except SystemExit as end:\n'
        '    assert not end.code, end.code\n'
        'found = [m for m in sys.modules if m.partition(".")[0] in '
        '("torch", "mmengine", "mmcv", "mmdet", "mmdeploy", "onnx")]\n'
        'assert not found, found\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'drawn to' in done.stdout
    assert (tmp_path / 'drawn.png').is_file()


def deploy(run_tool, work_dir, *arguments):
    return run_tool('deploy', *arguments, '--work-dir', work_dir)


def test_mistakes_are_named_and_leave_nothing(network, run_tool, tmp_path, capfd):
    config, checkpoint, image = network('cls')
    ort = 'cls_onnxruntime_static'
    cases = [
        ('det_onnxruntime_static', image, [], 'is for models of mmdet'),
        (ort, 'no.jpg', [], 'there is no image no.jpg'),
        (ort, checkpoint, [], 'cannot be read as an image'),
        (
            'det_onnxruntime_static',
            image,
            [
                *('--cfg-options', 'ir_config.input_shap=[9,9]'),
                *('--model-options', 'model.heda.topk=3'),
            ],
            'is for models of mmdet',
        ),
        *(
            (ort, image, ['--cfg-options', f'ir_config.input_shape={size}'], message)
            for size, message in (
                ('224', 'input_shape is 224;'),
                ('[224,0]', r'input_shape is [224, 0]'),
                ('[4200,33]', '1 to 4096 pixels'),
            )
        ),
        (ort, image, ['--model-options', 'a'], '--model-options a is not of the form'),
    ]
    for name, photo, flags, message in cases:
        work_dir = tmp_path / 'new'
        path = CONFIGS / f'{name}.py'
        code = deploy(run_tool, work_dir, path, config, checkpoint, photo, *flags)
        assert code == 2
        out, err = capfd.readouterr()
        assert message in err
        assert not work_dir.exists()
        if 'model.heda.topk=3' in flags:
            assert 'warning: --cfg-options ir_config.input_shap' in out
            assert 'warning: --model-options model.heda.topk' in out
        else:
            assert 'warning: --' not in out


@pytest.mark.parametrize(
    ('backend', 'known'), [('onnxruntime', 'fp32, int8'), ('ncnn', 'fp32, fp16, int8')]
)
def test_an_unknown_precision(tmp_path, backend, known):
    import mnv2_mm.deploy  # noqa: F401

    cfg = get_config(f'cls_{backend}_static')
    cfg.backend_config.precision = 'int4'
    manager = get_backend_manager(backend)
    with pytest.raises(InputError, match=f'{backend} has {known}'):
        manager.to_backend([str(tmp_path / 'a.onnx')], str(tmp_path), cfg)


@pytest.mark.parametrize('backend', [pytest.param('onnxruntime', marks=SLOW), 'ncnn'])
def test_times_are_written_into_the_folder(network, run_tool, tmp_path, capfd, backend):
    pytest.importorskip(backend)
    config = CONFIGS / f'cls_{backend}_static.py'
    flags = [config, *network('cls'), '--benchmark']
    assert deploy(run_tool, tmp_path / 'new', *flags) == 0
    found = json.loads((tmp_path / 'new/benchmark.json').read_text())
    assert found['backend'] == backend
    assert found['image'] == [64, 64]
    files = json.loads((tmp_path / 'new/model.json').read_text())['files']
    sizes = [(tmp_path / 'new' / file['name']).stat().st_size for file in files]
    assert found['bytes'] == sum(sizes)
    threads = [row['threads'] for row in found['times']]
    assert threads == sorted({1, cores()})
    said = capfd.readouterr().out
    assert f'{sum(sizes) / 1e6:.2f} MB' in said
    assert 'preprocessing' in said


def test_a_checkpoint_of_other_classes(network, run_tool, tiny_config, tmp_path, capfd):
    _, checkpoint, image = network('cls')
    other = tiny_config('cls', "model['head']['num_classes'] = 7", name='seven')
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


def test_an_export_removes_files_of_the_earlier_one(network, built, run_tool, tmp_path):
    pytest.importorskip('ncnn')
    folder = Path(shutil.copytree(built('cls', 'static'), tmp_path / 'again'))
    old = ['benchmark.json', 'deploy.json', 'end2end.0123.engine', 'build_engine.py']
    for name in (*old, 'mine.txt', 'index.html'):
        (folder / name).touch()
    assert {*old, 'end2end.onnx'} <= earlier_files(folder)
    assert 'index.html' not in earlier_files(folder)  # no page of ours
    (folder / 'sw.js').touch()
    # the second, of an earlier version's page
    assert {'index.html', 'ort.wasm.bundle.min.mjs'} <= earlier_files(folder)
    config = CONFIGS / 'cls_ncnn_static.py'
    assert deploy(run_tool, folder, config, *network('cls')) == 0
    left = {path.name for path in folder.iterdir()}
    assert not left & {*old, 'index.html', 'sw.js', 'end2end.onnx'}
    assert {'mine.txt', 'end2end.param', 'model.json', 'README.txt'} <= left
    (folder / 'model.json').write_text('{"files": [{"name": "../mine.txt"}]}')
    assert earlier_files(folder) == set()


def test_a_segmentor_that_predicts_part_by_part(network, run_tool, tmp_path, capfd):
    flags = ['--model-options', 'model.test_cfg.mode=slide']
    path = CONFIGS / 'seg_onnxruntime_dynamic.py'
    assert deploy(run_tool, tmp_path / 'new', path, *network('seg'), *flags) == 2
    assert "model.test_cfg.mode is 'slide'" in capfd.readouterr().err


def test_a_work_dir_that_cannot_be(network, run_tool, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, checkpoint, image = network('cls')
    assert deploy(run_tool, '', 'cls_onnxruntime_static', *network('cls')) == 2
    assert 'the name is empty' in capfd.readouterr().err
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
    assert 'not a directory' in capfd.readouterr().err


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'nms': dict(type='soft_nms')}, "type='soft_nms'"),
        ({'nms': None}, 'type=None'),
        (
            {'nms': dict(type='nms', class_agnostic=True, iou_threshold=1)},
            'class_agnostic=True',
        ),
        (
            {'nms': dict(type='nms', iou_threshold=1, score_threshold=0.5)},
            'has score_threshold',
        ),
        ({'nms': dict(type='nms')}, 'lacks iou_threshold'),
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
    """Codes far beyond what is clamped, boxes far beyond the photo."""
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

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
    assert '0 of 1 boxes' in largest_difference([first], [renamed])
    # what is there in addition; a box of the reference below 0.05 is none
    better = dict(first, scores=first['scores'] + np.float32(0.02))
    assert 'more' not in largest_difference([first], [better])
    none = {key: value[:0] for key, value in first.items()}
    assert '0 of 0 boxes' in (text := largest_difference([none], [first]))
    assert 'and 1 more' in text


@pytest.mark.parametrize('content', [None, b'no image'])
def test_int8_with_a_bad_training_image(
    network, run_tool, tiny_data, tmp_path, capfd, content
):
    data = Path(shutil.copytree(tiny_data, tmp_path / 'data'))
    for file in (data / 'images/train').iterdir():
        file.unlink() if content is None else file.write_bytes(content)
    code = deploy(
        run_tool,
        tmp_path / 'new',
        CONFIGS / 'det_onnxruntime_int8_static.py',
        *network('det'),
        '--model-options',
        f'train_dataloader.dataset.data_root={data}',
    )
    assert code == 2
    said = capfd.readouterr().err
    assert 'calibrated with training images' in said
    assert str(data / 'images/train') in said


@pytest.mark.parametrize('count', [-5, 0, 'many'])
def test_a_bad_number_of_calibration_images(count):
    backend = dict(calibration_images=count)
    processor = SimpleNamespace(deploy_cfg=SimpleNamespace(backend_config=backend))
    with pytest.raises(InputError, match=f'calibration_images is {count!r}'):
        calibration_inputs(processor, None)


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
    assert 'calibrated with training images' in capfd.readouterr().err
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    ('task', 'kind'),
    [
        pytest.param('det', 'onnxruntime_static', marks=SLOW),
        pytest.param('seg', 'ncnn_static_513', marks=SLOW),
        ('cls', 'tensorrt_fp16_static'),
    ],
)
def test_mmdeploys_own_calls_take_the_configs(network, built, tmp_path, task, kind):
    """mmdeploy's tools make these calls, with paths; slow: and export in a child."""
    from mmdeploy.apis import inference_model, torch2onnx
    from mmdeploy.apis.utils import to_backend
    from mmengine.config import Config

    backend = kind.partition('_')[0]
    pytest.importorskip('onnxruntime' if backend == 'tensorrt' else backend)
    config, checkpoint, image = map(str, network(task))
    path = str(CONFIGS / f'{task}_{kind}.py')
    args = image, str(tmp_path), 'end2end.onnx', path, config, checkpoint, 'cpu'
    if task == 'cls':
        torch2onnx(*args)
    else:
        child = multiprocessing.get_context('spawn').Process(
            target=torch2onnx, args=args
        )
        child.start()
        child.join()
        assert child.exitcode == 0
    file = str(tmp_path / 'end2end.onnx')
    files = to_backend(backend, [file], str(tmp_path), Config.fromfile(path))
    (sample,) = inference_model(config, path, list(files), image, 'cpu')
    found, photo = plain(sample), cv2.imread(image)
    if task == 'seg':
        wanted = ExportedModel(built(task, kind))(photo)
        assert (found['mask'] == wanted['mask']).mean() > 0.999
        return
    wanted = plain(predict(init_model(config, checkpoint), photo))
    if task == 'det':
        counted, matched, box, score = match(wanted, found)
        assert counted > 5
        assert matched == counted
        assert box < 0.01
        assert score < 1e-4
    else:
        gap = np.abs(found['probabilities'] - wanted['probabilities']).max()
        assert 0 < gap < 0.005  # float16
        # without an image the reference is noise
        with np.load(tmp_path / 'end2end.reference.npz') as arrays:
            assert arrays['input'].std() > 0.5


@pytest.mark.parametrize(
    ('changes', 'warns'),
    [({}, False), (dict(keep_ratio=True), True), (dict(pad_to=[64, 64]), False)],
)
def test_a_warning_where_images_become_inputs_of_several_sizes(changes, warns):
    from mnv2_mm.deploy.tasks import warnings_of_sizes

    keep = bool(changes)
    step = dict(do='resize', size=[64, 64], keep_ratio=keep, interpolation='bilinear')
    spec = dict(steps=[step], color_order='RGB', mean=[0] * 3, std=[1] * 3)
    spec |= dict(pad_to=changes.get('pad_to'), pad_multiple=1, pad_value=0)
    found = warnings_of_sizes(spec)
    assert ['64x48 and 48x64' in text for text in found] == [True] * warns
