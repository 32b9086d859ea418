"""mmdet's random crop: the same windows, drawn faster."""

import copy

import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS

from mnv2_mm.datasets import MinIoURandomCrop
from mnv2_mm.datasets.transforms.geometry import Window
from mnv2_mm.datasets.transforms.min_iou_crop import centered, ious
from mnv2_mm.utils.errors import InputError

WINDOW = Window(20, 10, 80, 70)  # 60 x 60


def test_ious_and_centers_by_hand():
    boxes = np.array(
        [
            [20, 10, 80, 70],  # the window
            [30, 20, 50, 40],  # 400 of its 3600
            [50, 10, 110, 70],  # half, center on the right edge
            [-10, 10, 50, 70],  # half, center on the left edge
            [0, 0, 20, 10],  # touches a corner only
            [5, 5, 5, 5],  # no area
        ],
        dtype=np.float32,
    )
    wanted = [1, 400 / 3600, 1800 / 5400, 1800 / 5400, 0, 0]
    assert ious(boxes, WINDOW) == pytest.approx(wanted)
    assert centered(boxes, WINDOW).tolist() == [True] * 2 + [False] * 4


def drawn_boxes(rng, count):
    """Of every size, a few of them reaching out of the image, or empty."""
    corner = rng.uniform(-10, 110, (count, 2))
    extent = np.exp(rng.uniform(0, np.log(120), (count, 2))) - 1
    extent[rng.uniform(size=count) < 0.05] = 0
    return np.concatenate([corner, corner + extent], 1).astype(np.float32)


def sample(rng, count) -> dict:
    structures = pytest.importorskip('mmdet.structures.bbox')
    return dict(
        img=rng.integers(0, 256, (90, 120, 3), dtype=np.uint8),
        img_shape=(90, 120),
        gt_bboxes=structures.HorizontalBoxes(
            torch.from_numpy(drawn_boxes(rng, count)).reshape(-1, 4)
        ),
        gt_bboxes_labels=np.arange(count),
        gt_ignore_flags=rng.uniform(size=count) < 0.2,
        gt_seg_map=rng.integers(0, 5, (90, 120), dtype=np.uint8),
    )


@pytest.mark.parametrize('count', [0, 1, 2, 5])
@pytest.mark.parametrize(
    'settings', [{}, dict(min_ious=(0.3, 0.5, 0.7, 0.9), min_crop_size=0.5)]
)
def test_the_same_as_of_mmdet_from_the_same_seed(settings, count):
    """Whatever is drawn next is the same too."""
    theirs = pytest.importorskip('mmdet.datasets.transforms')
    theirs = theirs.MinIoURandomCrop(**settings)
    ours = TRANSFORMS.build(dict(type='mnv2_mm.MinIoURandomCrop', **settings))
    rng = np.random.default_rng(count)
    cropped = 0
    for seed in range(18):
        first = sample(rng, count)
        second = copy.deepcopy(first)
        np.random.seed(seed)
        first, after = theirs(first), np.random.uniform()
        np.random.seed(seed)
        second = ours(second)
        assert np.random.uniform() == after
        assert first['img_shape'] == second['img_shape']
        for key in ('img', 'gt_seg_map', 'gt_bboxes_labels'):
            assert (first[key] == second[key]).all()
        assert (first['gt_ignore_flags'] == second['gt_ignore_flags']).all()
        boxes = first['gt_bboxes'].tensor, second['gt_bboxes'].tensor
        assert torch.equal(*boxes)
        cropped += first['img_shape'] != (90, 120)
    assert cropped >= 4


def test_arrays_as_boxes():
    """As of LoadAnnotations(box_type=None)."""
    crop = MinIoURandomCrop(min_ious=(0,))
    np.random.seed(1)
    for _ in range(20):
        found = crop(
            dict(
                img=np.zeros((90, 120, 3), np.uint8),
                gt_bboxes=np.array([[30, 30, 60, 50]], np.float32),
            )
        )
        height, width = found['img'].shape[:2]
        assert height >= 0.3 * 90 - 1 and width >= 0.3 * 120 - 1
        assert 0.49 < height / width < 2.05
        (box,) = found['gt_bboxes']
        assert (box >= 0).all() and box[2] <= width and box[3] <= height


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (dict(min_ious=(0.1, 3)), r'min_ious=\(0.1, 3\)'),
        (dict(min_crop_size=0), 'min_crop_size=0'),
        (dict(min_crop_size=30), 'min_crop_size=30'),
    ],
)
def test_wrong_arguments_are_named(arguments, expected):
    with pytest.raises(InputError, match=expected):
        MinIoURandomCrop(**arguments)
