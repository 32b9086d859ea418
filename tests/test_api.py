"""Models by name, outside of the command line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mnv2_mm.api import get_config, inferencer, init_model, list_models, load, predict
from mnv2_mm.checkpoints.hub import config_of
from mnv2_mm.engine.predictor import Model
from mnv2_mm.utils.config import config_path, config_root
from mnv2_mm.utils.errors import InputError

Trained = Callable[[str], tuple[Path, Path]]


@pytest.fixture
def image(tiny_data: Path) -> np.ndarray:
    path = sorted((tiny_data / 'images' / 'val').glob('*.jpg'))[0]
    return cv2.imread(str(path))


def test_every_listed_model_has_a_config() -> None:
    names = list_models()
    root = config_root()
    files = {path for path in root.rglob('*.py')} - {
        path
        for folder in ('_base_', 'deploy')
        for path in (root / folder).rglob('*.py')
    }
    assert {config_path(name) for name in names} == files
    for name in names:
        cfg = get_config(name)
        assert cfg.default_scope in ('mmdet', 'mmseg', 'mmpretrain')
        assert cfg.get('test_dataloader') is not None


@pytest.mark.parametrize('name', ['ssdlite_sample', 'deeplabv3_sample', 'mnv2_sample'])
def test_init_by_name_without_weights(name: str, image: np.ndarray) -> None:
    model = init_model(name)
    assert not model.training
    assert 'circle' in model.dataset_meta['classes']
    (result,) = Model(model).predict(image, threshold=0)
    assert str(result)


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_class_names_come_from_the_checkpoint(
    trained: Trained, tmp_path: Path, image: np.ndarray, task: str
) -> None:
    config, checkpoint = trained(task)
    state = torch.load(checkpoint, weights_only=False)
    names = [f'thing {i}' for i in range(6 if task == 'seg' else 5)]
    state['meta']['dataset_meta']['classes'] = names
    path = tmp_path / 'renamed.pth'
    torch.save(state, path)
    model = init_model(config, path)
    assert list(model.dataset_meta['classes']) == names
    text = next(Model(model).predict(image, threshold=0)).to_json()
    assert 'thing ' in text and 'circle' not in text


@pytest.mark.parametrize(
    ('task', 'kind'),
    [
        ('det', 'DetInferencer'),
        ('seg', 'MMSegInferencer'),
        ('cls', 'ImageClassificationInferencer'),
    ],
)
def test_inferencer_of_the_host(
    trained: Trained, image: np.ndarray, tmp_path: Path, task: str, kind: str
) -> None:
    config, checkpoint = trained(task)
    host = inferencer(config, checkpoint)
    assert type(host).__name__ == kind
    host(image, **{'show_dir' if task == 'cls' else 'out_dir': str(tmp_path)})
    assert list(tmp_path.rglob('*.[jp][pn]g'))
    result = host(image)
    expected = predict(init_model(config, checkpoint), image)
    if task == 'det':
        (found,) = result['predictions']
        scores = expected.pred_instances.scores
        assert found['scores'] == pytest.approx(scores.tolist(), abs=1e-4)
        assert 'circle' in host.model.dataset_meta['classes']
        assert 'circle' in host.visualizer.dataset_meta['classes']
    elif task == 'seg':
        mask = expected.pred_sem_seg.data[0].numpy()
        assert (result['predictions'] == mask).mean() > 0.999
        assert 'circle' in host.visualizer.dataset_meta['classes']
    else:
        assert result[0]['pred_class'] in get_config(config).classes
        score = float(expected.pred_score.max())
        assert result[0]['pred_score'] == pytest.approx(score, abs=1e-4)


def test_prediction_agrees_with_the_hosts_function(
    trained: Trained, image: np.ndarray
) -> None:
    from mmdet.apis import inference_detector

    model = init_model(*trained('det'))
    ours = predict(model, image).pred_instances
    theirs = inference_detector(model, image).pred_instances
    torch.testing.assert_close(ours.scores, theirs.scores)
    torch.testing.assert_close(ours.bboxes, theirs.bboxes)


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_load_a_checkpoint_alone(
    trained: Trained, tmp_path: Path, tiny_data: Path, task: str
) -> None:
    config, checkpoint = trained(task)
    folder = tmp_path / 'work_dir'
    folder.mkdir()
    path = Path(shutil.copy(checkpoint, folder))
    get_config(config).dump(folder / config.name)
    model = load(path)
    files = sorted((tiny_data / 'images' / 'val').glob('*.jpg'))[:2]
    other = cv2.resize(cv2.imread(str(files[0])), (96, 40))  # another network input
    sources = [*files, other]
    results = list(model.predict(sources, threshold=0, batch_size=3))
    # of a barely trained network scores tie, and their order is a matter of rounding
    network = init_model(config, checkpoint, optimize=True)
    for source, result in zip(sources, results, strict=True):
        expected = Model(network).run([result.image])[0][0]
        assert result.found.keys() == expected.keys()
        for key, value in result.found.items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-4)
        assert type(result.sample) is type(predict(network, source))
    assert 'circle' in model.classes
    assert results[0].plot().shape[2] == 3


def test_load_the_folder_of_a_training(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, checkpoint = trained('cls')
    folder = tmp_path / 'work_dir'
    folder.mkdir()
    get_config(config).dump(folder / config.name)
    (best,) = checkpoint.parent.glob('best_*.pth')
    for path in (checkpoint, best):
        shutil.copy(path, folder)

    def stop(config: object, weights: object, **_: object) -> None:
        raise InputError(f'{weights} is taken')

    monkeypatch.setattr('mnv2_mm.api.init_model', stop)
    with pytest.raises(InputError, match=rf'{best.name} is taken'):
        load(folder)


def test_load_chooses_among_configs_and_runs_no_checkpoint(
    trained: Trained, tmp_path: Path
) -> None:
    config, checkpoint = trained('cls')
    state = torch.load(checkpoint, weights_only=False)
    state['meta']['cfg'] = state['meta']['config'] = 'raise SystemExit("was run")'
    state['meta']['experiment_name'] = 'mine_20260101_000000'
    path = tmp_path / 'a.pth'
    torch.save(state, path)
    (tmp_path / 'deploy_config.py').write_text('raise SystemExit("was run")')
    with pytest.raises(InputError, match=r'config of .*a\.pth'):
        load(path)
    get_config(config).dump(tmp_path / 'mine.py')
    get_config('ssdlite_sample').dump(tmp_path / 'other.py')
    assert config_of(path) == str(tmp_path / 'mine.py')
    state['meta']['experiment_name'] = '/etc/mine_20260101_000000'
    torch.save(state, path)
    with pytest.raises(InputError, match='mine, other'):
        load(path)


def test_predict_takes_one_image_of_each_kind(
    trained: Trained, tiny_data: Path
) -> None:
    model = init_model(*trained('cls'))
    path = sorted((tiny_data / 'images' / 'val').glob('*.jpg'))[0]
    scores = [
        predict(model, image).pred_score
        for image in (cv2.imread(str(path)), path, str(path), Image.open(path))
    ]
    for score in scores[1:]:
        torch.testing.assert_close(score, scores[0], atol=0.02, rtol=0)
    for wrong, named in ((path.parent, 'one image'), (1.5, 'float'), ('x', 'x')):
        with pytest.raises(InputError, match=named):
            predict(model, wrong)
    with pytest.raises(InputError, match='predict'):
        predict(Model(model), path)


def test_mistakes_of_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MNV2_MM_CACHE', str(tmp_path))

    def no_network(*_: object, **__: object) -> None:
        raise OSError('no route')

    monkeypatch.setattr('urllib.request.urlopen', no_network)
    with pytest.raises(InputError, match='no route'):
        load('deeplabv3_mnv2_voc')
    for name, named in (
        ('deeplabv3_mnv2_vok', 'did you mean deeplabv3_mnv2_voc'),
        (tmp_path / 'none.pth', 'there is no checkpoint'),
        (tmp_path / 'none.onnx', r'model\.json'),
        (get_config('ssdlite_sample'), 'weights'),
        ('ssdlite_sample', 'weights'),
        (tmp_path, 'no epoch_N'),
        (5, 'int'),
    ):
        with pytest.raises(InputError, match=named):
            load(name)


def test_mistakes(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(InputError, match='did you mean ssdlite_sample'):
        init_model('ssdlite_sampel')
    with pytest.raises(InputError, match='there is no checkpoint'):
        init_model('ssdlite_sample', tmp_path / 'none.pth')
    with pytest.raises(InputError, match='needs weights'):
        inferencer('ssdlite_sample', None)
    _, checkpoint = trained('cls')
    with pytest.raises(InputError, match=r'does not fit|another model'):
        init_model('ssdlite_sample', checkpoint)
    with pytest.raises(InputError, match="device 'cuda:99'"):
        init_model('ssdlite_sample', device='cuda:99')
