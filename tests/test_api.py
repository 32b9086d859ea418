"""Models by name, outside of the command line."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mnv2_mm.api import get_config, inferencer, init_model, list_models, predict
from mnv2_mm.engine.visualizer import Painter, summarize
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
    painter = Painter(model, score_thr=0.0)
    assert summarize(painter.describe(predict(model, image)))


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
    text = str(Painter(model, score_thr=0.0).describe(predict(model, image)))
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
    trained: Trained, image: np.ndarray, task: str, kind: str
) -> None:
    config, checkpoint = trained(task)
    host = inferencer(config, checkpoint)
    assert type(host).__name__ == kind
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
