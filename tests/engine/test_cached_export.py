"""What load exports and keeps, and what the next program does with it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')

import torch

from mnv2_mm.api import load
from mnv2_mm.engine import cached_export
from mnv2_mm.engine.network_graph import EAGER_CALLS, MAX_SIZES
from mnv2_mm.engine.predictor import Model
from mnv2_mm.runtime.cached_export import CachedExport
from mnv2_mm.runtime.result import Result
from mnv2_mm.runtime.tensorrt_engine import match
from mnv2_mm.utils.errors import InputError

SHARED = Path(__file__).resolve().parents[3] / 'shared'
Trained = Callable[..., tuple[Path, Path]]


@pytest.fixture(scope='module')
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (90, 120, 3), np.uint8), (9, 9), 3)
    path = tmp_path_factory.mktemp('photo') / 'a.png'
    cv2.imwrite(str(path), image)
    return path


def cache() -> Path:
    return Path(os.environ['MNV2_MM_CACHE']) / 'exports'


def one(model: Model | CachedExport, photo: Path | np.ndarray) -> Result:
    (result,) = model.predict(photo, threshold=0.01)
    return result


def same(first: Result, second: Result) -> bool:
    """Equal up to rounding; the boxes of a short training have nearly equal scores."""
    if first.masks is not None:
        return float(np.mean(first.masks == second.masks)) > 0.99
    name = 'scores' if first.boxes is not None else 'probabilities'
    return bool(np.allclose(first.found[name], second.found[name], atol=1e-4))


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_the_next_program_needs_no_torch(
    trained: Trained, photo: Path, task: str
) -> None:
    config, checkpoint = trained(task)
    first = load(config, checkpoint)
    assert isinstance(first, Model)
    right = one(first, photo)
    first.export_to_cache()
    assert not first.export_failure
    assert same(one(first, photo), right)  # the export predicts from now on
    code = (
        'import sys, json, mnv2_mm\n'
        f'model = mnv2_mm.load({str(config)!r}, {str(checkpoint)!r})\n'
        f'(result,) = model.predict({str(photo)!r}, threshold=0.01)\n'
        "print(result.to_json(), 'torch' in sys.modules, 'mmengine' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    text, *loaded = done.stdout.strip().rsplit(' ', 2)
    assert loaded == ['False', 'False']
    second = load(config, checkpoint)
    assert isinstance(second, CachedExport)
    assert one(second, photo).to_json() == text
    assert same(one(second, photo), right)
    assert second.classes == first.classes


def test_the_network_and_the_sample_are_there_when_asked_for(
    trained: Trained, photo: Path
) -> None:
    first = load(*trained('cls'))
    sample = one(first, photo).sample
    first.export_to_cache()
    second = load(*trained('cls'))
    assert type(second.network) is type(first.network)
    found = one(second, photo).sample
    torch.testing.assert_close(found.pred_score, sample.pred_score)


def test_it_is_cached_after_a_few_images(trained: Trained, photo: Path) -> None:
    model = load(*trained('cls'))
    for number in range(EAGER_CALLS + 2):
        assert cache().exists() == (number > EAGER_CALLS)
        one(model, photo)


def test_each_size_has_its_export(trained: Trained, photo: Path) -> None:
    wide = cv2.resize(cv2.imread(str(photo)), (200, 60))
    model = load(*trained('seg'))
    right = one(model, photo), one(model, wide)
    one(model, photo)
    model.export_to_cache()
    second = load(*trained('seg'))
    assert isinstance(second, CachedExport)
    found = one(second, photo), one(second, wide)  # by the network, which is built
    second.export_to_cache()
    assert all(map(same, found, right))
    assert len(list(cache().glob('*/*'))) == 2
    third = load(*trained('seg'))
    assert all(map(same, [one(third, photo), one(third, wide)], right))
    assert '_model' not in vars(third)


def test_other_arguments_have_another_export(
    trained: Trained, photo: Path, tmp_path: Path
) -> None:
    config, checkpoint = trained('cls')
    path, weights = tmp_path / 'own.py', tmp_path / 'own.pth'
    path.write_text(Path(config).read_text())
    content = torch.load(checkpoint, weights_only=False)
    torch.save(content, weights)
    model = load(path, weights)
    one(model, photo)
    model.export_to_cache()
    assert isinstance(load(path, weights), CachedExport)
    for options in (dict(backend='pytorch'), dict(optimize=False)):
        assert isinstance(load(path, weights, **options), Model)
    path.write_text(path.read_text() + "\nmodel['backbone']['frozen_stages'] = 1\n")
    assert isinstance(load(path, weights), Model)
    path.write_text(Path(config).read_text())
    assert isinstance(load(path, weights), CachedExport)
    content['state_dict']['head.fc.bias'][0] += 1
    torch.save(content, weights)
    assert isinstance(load(path, weights), Model)


@pytest.mark.parametrize(
    'line',
    [
        'import os',
        "classes = open('classes.txt').read()",
        "name = '{{$ENV:NAME:x}}'",
        "custom_imports = dict(imports=['os'])",
    ],
)
def test_a_config_that_may_depend_on_more_is_not_cached(
    trained: Trained, tmp_path: Path, line: str
) -> None:
    from mnv2_mm.utils.export_key import export_folder

    config, checkpoint = trained('cls')
    path, base = tmp_path / 'own.py', tmp_path / 'base.py'
    path.write_text(Path(config).read_text())
    assert export_folder(path, checkpoint)
    path.write_text("_base_ = ['base.py']\n")
    base.write_text('a = 1')
    first = export_folder(path, checkpoint)
    base.write_text('a = 2')
    assert first and first != export_folder(path, checkpoint)
    base.write_text(line)
    assert export_folder(path, checkpoint) is None


@pytest.mark.parametrize('ending', ['.yaml', '.json'])
def test_a_config_whose_bases_are_not_looked_for_is_not_cached(
    trained: Trained, tmp_path: Path, ending: str
) -> None:
    from mnv2_mm.utils.export_key import export_folder

    _, checkpoint = trained('cls')
    path, own = tmp_path / f'base{ending}', tmp_path / 'own.py'
    path.write_text('{"a": 1}')
    own.write_text(f"_base_ = 'base{ending}'")
    assert export_folder(path, checkpoint) is None
    assert export_folder(own, checkpoint) is None


def test_a_network_that_may_be_changed_is_not_cached(
    trained: Trained, photo: Path
) -> None:
    model = load(*trained('cls'))
    one(model, photo)
    model.network.head.fc.bias.data += 1
    for _ in range(EAGER_CALLS + 2):
        one(model, photo)
    model.export_to_cache()
    assert 'handed out' in model.export_failure
    assert not cache().exists()


def test_weights_that_change_under_a_model_are_refused(
    trained: Trained, photo: Path, tmp_path: Path
) -> None:
    config, checkpoint = trained('seg')
    weights = shutil.copy(checkpoint, tmp_path)
    model = load(config, weights)
    one(model, photo)
    model.export_to_cache()
    model = load(config, weights)
    assert isinstance(model, CachedExport)
    with open(weights, 'ab') as file:
        file.write(b'0')
    wide = cv2.resize(cv2.imread(str(photo)), (200, 60))
    with pytest.raises(InputError, match='was changed'):
        one(model, wide)
    assert one(model, photo).masks is not None


def test_a_few_sizes_are_kept(trained: Trained, photo: Path) -> None:
    image = cv2.imread(str(photo))
    for first in (60, 360):  # also over several programs
        model = load(*trained('seg'))
        for width in range(first, first + 300, 50):
            one(model, cv2.resize(image, (width, 60)))
        model.export_to_cache()
    assert len(list(cache().glob('*/*x*'))) == MAX_SIZES


def test_the_image_may_be_changed_later(trained: Trained, photo: Path) -> None:
    model, image = load(*trained('cls')), cv2.imread(str(photo))
    one(model, image)
    image[:] = 0
    model.export_to_cache()
    assert not model.export_failure


def test_other_users_may_read_an_export(trained: Trained, photo: Path) -> None:
    model = load(*trained('cls'))
    one(model, photo)
    model.export_to_cache()
    (place,) = cache().glob('*/*')
    assert place.stat().st_mode == cache().stat().st_mode


def test_models_in_several_threads(trained: Trained, photo: Path) -> None:
    """One is exported while others are built and run layer by layer."""
    printed = sys.stdout

    def work(task: str) -> str:
        model = load(*trained(task), optimize=task != 'det')
        for _ in range(EAGER_CALLS + 3):
            result = one(model, photo)
        return model.export_failure or str(result)

    tasks = ['det', 'cls', 'seg', 'cls', 'det', 'seg']
    with ThreadPoolExecutor(len(tasks)) as pool:
        found = list(pool.map(work, tasks))
    assert found[:3] == [found[4], found[3], found[5]]
    assert sys.stdout is printed
    assert len(list(cache().glob('*/*'))) == 2


@pytest.mark.parametrize('damage', ['graph', 'description', 'missing'])
def test_a_damaged_export_is_made_again(
    trained: Trained, photo: Path, damage: str
) -> None:
    model = load(*trained('cls'))
    right = one(model, photo)
    model.export_to_cache()
    (folder,) = cache().glob('*/*')
    if damage == 'missing':
        (folder / 'model.onnx').unlink()
    else:
        file = folder / ('model.onnx' if damage == 'graph' else 'model.json')
        file.write_bytes(file.read_bytes()[:-100])
    model = load(*trained('cls'))
    assert isinstance(model, Model)
    assert same(one(model, photo), right)
    model.export_to_cache()
    assert isinstance(load(*trained('cls')), CachedExport)


def test_a_graph_that_computes_something_else_is_not_cached(
    trained: Trained, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(*trained('cls'))
    one(model, photo)
    export = cached_export.export
    monkeypatch.setattr(
        cached_export, 'export', lambda net, x, names: export(Other(net), x, names)
    )
    model.export_to_cache()
    assert 'differ' in model.export_failure
    assert list(cache().iterdir()) == []
    assert one(model, photo).probs is not None


class Other(torch.nn.Module):
    """Computes something else than the network."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(y * 1.001 for y in self.network(x))


@pytest.mark.parametrize(
    ('key', 'value', 'reason'),
    [
        ('nms', dict(type='soft_nms', iou_threshold=0.6), 'not exported'),
        ('min_bbox_size', 3, 'not exported'),
    ],
)
def test_a_detector_with_another_nms_is_not_cached(
    trained: Trained, photo: Path, key: str, value: object, reason: str
) -> None:
    network = load(*trained('det')).network
    network.bbox_head.test_cfg[key] = value
    model = Model(network, cache() / 'model')
    one(model, photo)
    model.export_to_cache()
    assert reason in model.export_failure


def test_code_of_the_user_is_not_cached(trained: Trained, photo: Path) -> None:
    class Mine(torch.nn.Identity):
        pass

    network = load(*trained('cls')).network
    network.head.own = Mine()
    model = Model(network, cache() / 'model')
    one(model, photo)
    model.export_to_cache()
    assert 'Mine' in model.export_failure
    assert not cache().exists()


def test_a_disk_that_refuses_costs_nothing(
    trained: Trained, photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('MNV2_MM_CACHE', str(tmp_path / 'file'))
    model = load(*trained('cls'))
    for _ in range(EAGER_CALLS + 2):
        assert one(model, photo).probs is not None


def test_the_oldest_exports_go(
    trained: Trained, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_export, 'MAX_MODELS', 1)
    cache().mkdir(parents=True)
    (cache() / 'old').mkdir()
    os.utime(cache() / 'old', (0, 0))
    model = load(*trained('cls'))
    one(model, photo)
    model.export_to_cache()
    assert not (cache() / 'old').exists()
    assert len(list(cache().iterdir())) == 1


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason='needs the files of ../shared')
@pytest.mark.parametrize(
    'name',
    [
        'object_detection_ssd_mobilenetv2_oidv4_fp16.tflite',
        'deeplabv3_mnv2_pascal_quant.tflite',
        'mobilenet_v2_1.0_224_quant.tflite',
    ],
)
def test_the_networks_of_google(name: str) -> None:
    """Prints the largest difference from the network layer by layer."""
    folders = 'demo_photos', 'pets_mini'
    photos = [p for f in folders for p in sorted((SHARED / 'data' / f).rglob('*.jpg'))]
    assert len(photos) >= 10
    weights = SHARED / 'weights' / name
    network, model = load(weights, optimize=False), load(weights)
    assert isinstance(model, Model)
    boxes, gaps = 0, []
    for photo in photos[:40]:
        first, second = one(network, photo), one(model, photo)
        model.export_to_cache()
        if first.boxes is None:
            key = 'mask' if first.probs is None else 'probabilities'
            gap = np.abs(first.found[key] - second.found[key])
            gaps.append(float((gap > 0).mean() if key == 'mask' else gap.max()))
            continue
        counted, matched, side, score = match(first.found, second.found, 0.01)
        assert counted == matched
        boxes += counted
        gaps.append((side, score))
    assert not model.export_failure
    assert isinstance(load(weights), CachedExport)
    print(name, len(photos[:40]), 'photos', boxes, 'boxes', np.max(gaps, axis=0))
    assert np.max(gaps) < 1e-3
