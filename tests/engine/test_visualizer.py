"""The hosts' samples as arrays, and the images that their hooks write."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import VISUALIZERS
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from mnv2_mm.engine.visualizer import ResultVisualizer
from mnv2_mm.utils.errors import InputError

RED = (250, 0, 0)
IMAGE = np.full((480, 640, 3), 90, np.uint8)


def detection() -> BaseDataElement:
    boxes = torch.tensor([[100.0, 100, 300, 300]])
    labels = torch.tensor([1])
    scores = torch.tensor([0.2])  # below the threshold
    found = InstanceData(bboxes=boxes, labels=labels, scores=scores)
    sample = BaseDataElement(pred_instances=found)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    return sample


def segmentation() -> BaseDataElement:
    truth = torch.zeros(1, 480, 640, dtype=torch.long)
    truth[:, 200:400, 200:400] = 1
    parts = dict(gt_sem_seg=PixelData(data=truth))
    return BaseDataElement(**parts, pred_sem_seg=PixelData(data=truth * 0))


def classification() -> BaseDataElement:
    scores = torch.tensor([1.0, 0.0])
    return BaseDataElement(gt_label=torch.tensor([1]), pred_score=scores)


@pytest.fixture
def visualizer(tmp_path: Path) -> ResultVisualizer:
    kind = dict(type='mnv2_mm.ResultVisualizer', out_dir=str(tmp_path / 'a' / 'b'))
    made = VISUALIZERS.build(dict(kind, name=str(tmp_path)))
    made.dataset_meta = {'classes': ('background', 'cat'), 'palette': [(0, 0, 0), RED]}
    return made


def red(image: np.ndarray) -> np.ndarray:
    return image[..., 2].astype(int) - image[..., 0] > 60


@pytest.mark.parametrize('make', [detection, segmentation, classification])
def test_truth_is_left_and_the_prediction_right(
    visualizer: ResultVisualizer, tmp_path: Path, make: Callable[[], BaseDataElement]
) -> None:
    sample = make()
    visualizer.add_datasample('one', IMAGE, sample, step=3)
    written = cv2.imread(str(tmp_path / 'a' / 'b' / 'one.jpg'))
    assert written.shape[1] > 1280
    assert red(written[:, :640]).any() and not red(written[:, -640:]).any()
    visualizer.add_datasample('two', IMAGE, sample, draw_gt=False)
    assert cv2.imread(str(tmp_path / 'a' / 'b' / 'two.jpg')).shape[1] == 640


def test_files_of_one_name_do_not_collide(
    visualizer: ResultVisualizer, tmp_path: Path
) -> None:
    for name in ('x/photo.png', 'y/photo.png', 'x/photo_2.png'):
        sample = classification()
        sample.set_metainfo({'img_path': name})
        visualizer.add_datasample('test_img', IMAGE, sample)
    names = sorted(path.name for path in (tmp_path / 'a' / 'b').iterdir())
    assert names == ['photo.jpg', 'photo_2.jpg', 'photo_2_2.jpg']


def test_classes_are_drawn_on_the_image_of_the_file(
    visualizer: ResultVisualizer, tmp_path: Path
) -> None:
    path = tmp_path / 'blue.png'
    cv2.imwrite(str(path), np.full((500, 700, 3), (200, 0, 0), np.uint8))
    sample = classification()
    sample.set_metainfo({'img_path': str(path)})
    out = str(tmp_path / 'c' / 'out.png')
    options = dict(draw_gt=False, out_file=out, name='blue.png', step=0)
    visualizer.visualize_cls(image=IMAGE[:224, :224], data_sample=sample, **options)
    drawn = cv2.imread(out)
    assert drawn.shape[1] == 700 and drawn[250, 350].tolist() == [200, 0, 0]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / 'a').write_text('a file')
    folder = str(tmp_path / 'a' / 'b')
    with pytest.raises(InputError, match=re.escape(folder)):
        ResultVisualizer('name', out_dir=folder)
