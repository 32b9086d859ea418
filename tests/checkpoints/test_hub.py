"""Published networks: the list, the cache, and the tools around them."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('tflite')
pytest.importorskip('mmpretrain.models')
from graph_writer import archive, frozen
from mmengine.runner import CheckpointLoader
from other_networks import mmpretrain_net, torchvision_net
from slim_variables import classifier
from tflite_writer import Entry, write, write_network

from mnv2_mm.api import init_model
from mnv2_mm.checkpoints import hub as published
from mnv2_mm.checkpoints import load_backbone
from mnv2_mm.checkpoints.convert import convert, read_labels, save
from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.guard import apply_preprocessing, other_preprocessing
from mnv2_mm.checkpoints.loading import safe_loading
from mnv2_mm.checkpoints.source import Source, sha256_of
from mnv2_mm.checkpoints.start import write_start
from mnv2_mm.utils.config import config_path, get_config
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.export_key import export_folder

ROOT = Path(__file__).resolve().parents[2]
NARROW = {'model.backbone.widen_factor': 0.35}


PIXELS = dict(kind='uint8', scale=(0.01,), zero=(100,))


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    """A TFLite classifier of width 0.35 with random weights."""
    path = tmp_path_factory.mktemp('tflite') / 'narrow.tflite'
    return write_network(path, classifier(0.35), pixels=PIXELS)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(published.CACHE_VARIABLE, str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def narrow(file, cache, tmp_path, monkeypatch):
    """The narrow classifier as if it were published."""
    config = tmp_path / 'narrow.py'
    config.write_text(
        f"_base_ = '{config_path('official/mnv2_in1k')}'\n"
        'model = dict(backbone=dict(widen_factor=0.35))\n'
    )
    model = published.Published(
        'narrow',
        str(config),
        'https://example.invalid/narrow.tflite',
        'narrow.tflite',
        f'sha256:{sha256_of(file)}',
        'Apache-2.0',
    )
    monkeypatch.setattr(published, 'published_models', lambda: {'narrow': model})
    return model


# ----------------------------------------------------------------- the list
def test_the_list_is_whole():
    models = published.published_models()
    assert {'mnv2_in1k', 'deeplabv3_mnv2_voc', 'ssdlite_mnv2_coco'} <= set(models)
    assert {'ssd_mnv2_coco', 'ssd_mnv2_openimages'} <= set(models)
    figure5 = [path.stem for path in (ROOT / 'configs/figure5').glob('*.py')]
    assert len(figure5) == 22 and set(figure5) <= set(models)
    for model in models.values():
        assert model.url.startswith('https://')
        assert re.fullmatch(r'(sha256:\w{64}|sha384:\w{96})?', model.digest)
        assert model.file.endswith(('.tflite', '.tgz', '.tar.gz'))
        assert (ROOT / 'configs' / f'{model.config}.py').is_file()


@pytest.mark.parametrize(
    'name',
    [m.name for m in published.published_models().values() if '.tflite' in m.file],
)
def test_the_shared_files_are_those_of_the_list(name):
    model = published.published_models()[name]
    path = ROOT.parent / 'shared/weights' / model.file
    if not path.is_file():
        pytest.skip('needs the trained files of ../shared')
    assert f'sha256:{sha256_of(path)}' == model.digest


# ---------------------------------------------------------------- the cache
def test_a_file_in_the_cache_is_converted_once(narrow, file, cache, capsys):
    cache.mkdir()
    (cache / 'narrow.tflite').write_bytes(file.read_bytes())
    cfg, path = published.resolve('narrow', None)
    assert cfg.model.backbone.widen_factor == 0.35
    assert '0 unused, 0 missing' in capsys.readouterr().out
    written = path.stat().st_mtime_ns
    assert published.resolve('narrow', None)[1] == path
    assert path.stat().st_mtime_ns == written
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:1000], whole[:middle] + bytes(9) + whole[middle + 9 :]):
        path.write_bytes(damaged)
        read(published.resolve('narrow', None)[1])
    assert not list(cache.glob('*.part'))


def test_without_internet_the_message_says_what_to_fetch(narrow, cache):
    with pytest.raises(InputError) as error:
        published.resolve('narrow', None)
    assert narrow.url in str(error.value)
    assert str(cache / 'narrow.tflite') in str(error.value)
    assert not (cache / 'narrow.tflite').exists()


def test_another_file_of_this_name_is_refused(narrow, cache):
    cache.mkdir()
    (cache / 'narrow.tflite').write_bytes(b'<html>moved</html>')
    with pytest.raises(InputError, match=r'not the published file.*remove it'):
        published.resolve('narrow', None)


def test_an_archive_without_a_digest(cache, monkeypatch, capsys):
    """Its graph is converted; another file of this name is refused later."""
    name = 'mobilenet_v2_w035_r096'
    model = published.published_models()[name]
    assert not model.digest
    config = config_path(model.config)
    cache.mkdir()
    member = './mobilenet_v2_0.35_96_frozen.pb'
    path = archive(cache / model.file, {member: frozen(classifier(0.35))})
    cfg, checkpoint = published.resolve(name, None)
    assert cfg.model.backbone.widen_factor == 0.35
    assert cfg.model.backbone.padding == 'same'
    said = capsys.readouterr().out
    assert f'sha256:{sha256_of(path)}' in said
    assert '0 unused, 0 missing' in said
    first = export_folder(name, None), export_folder(config, f'mnv2_mm://{name}')
    assert all(first)
    archive(path, {member: frozen(classifier(0.35)) + b'\n\x00'})
    with pytest.raises(InputError, match='not the first downloaded file'):
        published.resolve(name, None)
    path.with_name(f'{path.name}.digest').unlink()
    assert export_folder(name, None) is None  # is not known before it is read
    assert published.resolve(name, None)[1] != checkpoint
    second = export_folder(name, None), export_folder(config, f'mnv2_mm://{name}')
    assert all(second) and not {*first} & {*second}


def test_a_published_name_is_preferred_to_a_training(cache, monkeypatch, tmp_path):
    """Without weights, or with a file to convert; a checkpoint is of the training."""
    found = []
    monkeypatch.setattr(published, 'checkpoint_of', lambda m: found.append(m.name))
    monkeypatch.setattr(published, '_convert', lambda *_: None)
    empty = Source('graph.pb', 'TensorFlow', '', {})
    monkeypatch.setattr(published, 'read_weights', lambda _: empty)

    def side(weights=None):
        cfg, _ = published.resolve('ssdlite_mnv2_coco', weights)
        return cfg.model.bbox_head.anchor_generator.input_size

    assert side() == 300
    assert found == ['ssdlite_mnv2_coco']
    (tmp_path / 'graph.pb').write_bytes(b'')
    assert side(tmp_path / 'graph.pb') == 300
    assert side(tmp_path / 'epoch_1.pth') == 320
    # a name of no config
    cfg, _ = published.resolve('mnv2_in1k_quant', tmp_path / 'epoch_1.pth')
    assert cfg.model.backbone.padding == 'same'


def test_files_of_one_name_are_told_apart(narrow, file, cache, tmp_path):
    """Two programs may load them at once; a few copies are kept."""
    copies = []
    for number in range(published.MAX_COPIES + 1):
        path = tmp_path / str(number) / 'a.tflite'
        path.parent.mkdir()
        path.write_bytes(file.read_bytes() + bytes(number))  # read in the same way
        if number == 1:  # no longer in use
            os.utime(copies[0], (0, 0))
        copies.append(published.resolve('narrow', path)[1])
        provenance = read(copies[number // 2])['meta']['provenance']
        assert provenance['sha256'] == sha256_of(tmp_path / f'{number // 2}/a.tflite')
    assert [copy.is_file() for copy in copies] == [False, *[True] * (len(copies) - 1)]
    assert published.resolve('narrow', path)[1] == copies[-1]


def test_an_unpublished_name_needs_weights(cache):
    with pytest.raises(InputError, match=r'--weights is missing.*mnv2_in1k'):
        published.resolve('ssdlite_mnv2_coco_sgd_600e', None)
    with pytest.raises(InputError, match='there is no config deeplab_v9'):
        published.resolve('deeplab_v9', None)


def test_backbones_start_from_published_weights(narrow, file, cache):
    from mnv2_mm.models import MobileNetV2

    cache.mkdir()
    (cache / 'narrow.tflite').write_bytes(file.read_bytes())
    backbone = MobileNetV2(0.35, (7,))
    report = load_backbone(backbone, 'mnv2_mm://narrow', prefix='backbone.')
    assert not report.missing
    with pytest.raises(InputError, match='there are narrow'):
        load_backbone(backbone, 'mnv2_mm://wide')


def test_models_start_from_published_weights(narrow, file, cache):
    cache.mkdir()
    (cache / 'narrow.tflite').write_bytes(file.read_bytes())
    model = init_model(narrow.config, 'mnv2_mm://narrow')
    assert len(model.dataset_meta['classes']) == 1000
    with pytest.raises(InputError, match='there are narrow'):
        init_model(narrow.config, 'mnv2_mm://wide')


def test_weights_may_be_given_by_address(run, narrow, file, cache, tmp_path):
    address, out = file.as_uri(), tmp_path / 'out.pth'
    assert published.resolve('narrow', address)[1].name.startswith('narrow.tflite-')
    weights = tmp_path / 'a.pth'
    weights.write_bytes(b'')
    assert published.resolve('narrow', weights.as_uri())[1] == weights
    code, *_ = run('convert_weights', address, out, '--config', narrow.config)
    assert not code and read(out)['state_dict']
    code, _, error = run('convert_weights', 'ftp://a/b.pth', out)
    assert code == 2 and 'ftp://a/b.pth' in error
    # what is there may change
    assert export_folder(narrow.config, 'https://a.invalid/b') is None


@pytest.mark.parametrize('way', ['load_from', 'init_cfg', 'mnv2 data'])
def test_every_reader_takes_published_weights(way, narrow, file, cache, tmp_path):
    cache.mkdir()
    (cache / 'narrow.tflite').write_bytes(file.read_bytes())
    address, key = 'mnv2_mm://narrow', 'head.fc.bias'
    wanted = read(published.checkpoint_of(narrow))['state_dict'][key]
    if way == 'mnv2 data':
        with pytest.raises(InputError, match=r'narrow-.* no MobileNetV2 of width 1'):
            write_start('cls', address, tmp_path / 'start.pth')
        found = read(tmp_path / 'start.pth')['state_dict'][key]
    elif way == 'load_from':
        with safe_loading():
            found = CheckpointLoader.load_checkpoint(address)['state_dict'][key]
    else:
        cfg = get_config(narrow.config).copy()
        cfg.model.init_cfg = dict(type='Pretrained', checkpoint=address)
        found = init_model(cfg).state_dict()[key]
    assert torch.equal(found, wanted)


# ------------------------------------------------------- what was converted
def test_a_checkpoint_says_what_it_is(file, tmp_path):
    cfg = get_config('official/mnv2_in1k').copy()
    cfg.merge_from_dict(NARROW)
    checkpoint, _ = convert(file, cfg)
    meta = checkpoint['meta']
    assert len(meta['dataset_meta']['classes']) == 1000
    assert meta['provenance']['file'] == 'narrow.tflite'
    assert meta['provenance']['sha256'] == sha256_of(file)
    assert meta['preprocessing']['mean'] == [100.0] * 3
    path = tmp_path / 'out.pth'
    save(checkpoint, path)
    torch.load(path, weights_only=True)
    model = init_model(cfg, path)
    assert model.data_preprocessor.mean.flatten().tolist() == [100.0] * 3
    assert model.dataset_meta['classes'] == meta['dataset_meta']['classes']


def test_pixels_are_scaled_as_the_weights_expect():
    model = init_model('mnv2_in1k')
    assert apply_preprocessing(model, {}) is None
    same = dict(preprocessing=dict(mean=[127.5] * 3, std=[127.5] * 3))
    assert apply_preprocessing(model, same) is None
    other = dict(preprocessing=dict(mean=[120.0, 110, 100], std=[60.0] * 3))
    assert 'mean=[120.0, 110, 100]' in other_preprocessing(model, other)
    close = dict(preprocessing=dict(mean=[128.0] * 3, std=[128.0] * 3))
    assert other_preprocessing(model, close) is None
    assert 'mean 120, 110, 100' in apply_preprocessing(model, other)
    x = torch.full((3, 4, 4), 60.0)  # BGR, as OpenCV reads it
    found = model.data_preprocessor({'inputs': [x]})['inputs'][0, :, 0, 0]
    assert found.tolist() == pytest.approx([-1.0, -5 / 6, -4 / 6])
    model.data_preprocessor.to_rgb = False
    with pytest.raises(InputError, match='expect RGB'):
        apply_preprocessing(model, other)


def test_labels(tmp_path, file):
    path = tmp_path / 'labels.txt'
    names = [f'class {i}' for i in range(1000)]
    path.write_text('\n'.join(['background', *names]) + '\n')
    cfg = get_config('official/mnv2_in1k').copy()
    cfg.merge_from_dict(NARROW)
    checkpoint, _ = convert(file, cfg, classes=read_labels(path))
    assert checkpoint['meta']['dataset_meta']['classes'] == tuple(names)
    with pytest.raises(InputError, match=r'3 class names.*1000 classes'):
        convert(file, cfg, classes=['a', 'b', 'c'])
    with pytest.raises(InputError, match=r'0 class names'):
        convert(file, cfg, classes=[])
    (tmp_path / 'empty.txt').write_text(' \n')
    for name in ('none.txt', 'empty.txt'):
        with pytest.raises(InputError, match=f'label file .*{name}'):
            read_labels(tmp_path / name)


@pytest.mark.parametrize('base', ['torchvision', 'mmpretrain'])
def test_names_of_another_code_base_are_recognised(base, tmp_path):
    weights = torchvision_net(1.0).state_dict()
    if base == 'mmpretrain':
        backbone = mmpretrain_net(1.0).state_dict()
        weights = {f'backbone.{key}': value for key, value in backbone.items()}
        weights['head.fc.bias'] = torch.zeros(1000)
    path = tmp_path / 'theirs.pth'
    torch.save(weights, path)
    said = rf'names are those of {base};.*mnv2 convert .*theirs'
    with pytest.raises(InputError, match=re.compile(said, re.DOTALL)):
        init_model('mnv2_in1k', path)


def test_a_network_of_other_names_is_refused(tmp_path):
    weight = np.ones((2, 1, 1, 3), np.float32)
    tensors = [
        Entry('input', shape=(1, 8, 8, 3)),
        Entry('block_1_expand/kernel', weight),
        Entry('map', shape=(1, 8, 8, 2)),
    ]
    path = write(tmp_path / 'keras.tflite', tensors, [('CONV_2D', [0, 1], [2])])
    with pytest.raises(InputError, match=r'none of the names.*block_1_expand'):
        convert(path, 'official/mnv2_in1k')


# ---------------------------------------------------------------- the tools
@pytest.fixture
def run(monkeypatch, capsys):
    """Run a tool in this process: its exit code, output and errors."""

    def run(tool, *args):
        spec = importlib.util.spec_from_file_location(
            tool, ROOT / 'tools' / f'{tool}.py'
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            module.main()
        return stop.value.code, *capsys.readouterr()

    return run


def test_convert_then_demo(run, file, cache, tmp_path):
    out = tmp_path / 'out.pth'
    code, printed, _ = run(
        'convert_weights', file, out,
        '--config', 'official/mnv2_in1k',
        '--cfg-options', 'model.backbone.widen_factor=0.35',
    )  # fmt: skip
    assert not code
    assert 'MobilenetV2/Conv/weights' in printed
    assert '262 tensors matched (backbone 260, head 2)' in printed
    config = tmp_path / 'narrow.py'
    config.write_text(
        f"_base_ = '{config_path('official/mnv2_in1k')}'\n"
        'model = dict(backbone=dict(widen_factor=0.35))\n'
    )
    photo = tmp_path / 'photo.png'
    cv2.imwrite(str(photo), np.full((70, 80, 3), 90, np.uint8))
    scores = []
    for weights in (out, file):  # converted before, and by the demo
        code, _, _ = run(
            'demo', config, photo,
            '--weights', weights, '--out-dir', tmp_path / 'demo',
        )  # fmt: skip
        assert code == 0
        results = json.loads((tmp_path / 'demo/results.json').read_text())
        scores.append(results['results'][0])
    assert scores[0] == scores[1]


def test_tools_take_the_name(run, narrow, file, cache, tmp_path):
    cache.mkdir()
    (cache / 'narrow.tflite').write_bytes(file.read_bytes())
    code, _, error = run('test', narrow.config, 'mnv2_mm://wide')
    assert code == 2
    assert 'there are narrow' in error
    for package in ('mmdeploy', 'onnxruntime'):
        pytest.importorskip(package)
    photo = tmp_path / 'photo.png'
    cv2.imwrite(str(photo), np.full((70, 80, 3), 90, np.uint8))
    code, printed, _ = run(
        'deploy', ROOT / 'configs/deploy/cls_onnxruntime_static.py',
        narrow.config, 'mnv2_mm://narrow', photo,
        '--work-dir', tmp_path / 'build',
    )  # fmt: skip
    assert not code
    assert 'onnxruntime fp32' in printed
    assert (tmp_path / 'build/model.json').is_file()


@pytest.mark.parametrize(
    'source, out, said',
    [
        ('none.tflite', 'out.pth', 'there is no file none.tflite'),
        ('{file}', 'out.pt', 'end in .pth'),
        ('{file}', 'out.pth', 'widen_factor'),
    ],
)
def test_bad_input_is_one_message(run, file, tmp_path, source, out, said):
    code, _, errors = run('convert_weights', source.format(file=file), tmp_path / out)
    assert code == 2
    assert said in errors
    assert not list(tmp_path.glob('out*'))
