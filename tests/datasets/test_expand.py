"""mmdet's zoom-out: the same canvas, filled faster."""

import copy

import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS

from mnv2_mm.datasets import Expand
from mnv2_mm.utils.errors import InputError


def sample(rng, dtype=np.uint8, channels=3) -> dict:
    return dict(
        img=rng.integers(0, 256, (30, 40, channels)).astype(dtype),
        img_shape=(30, 40),
        gt_bboxes=np.array([[1, 2, 11, 22], [0, 0, 40, 30]], np.float32),
        gt_seg_map=rng.integers(0, 5, (30, 40), dtype=np.uint8),
    )


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('mean', [(127.5, 127.5, 127.5), (123.675, 116.28, 103.53)])
@pytest.mark.parametrize('to_rgb', [True, False])
def test_the_same_as_of_mmdet_from_the_same_seed(dtype, mean, to_rgb):
    theirs = pytest.importorskip('mmdet.datasets.transforms')
    structures = pytest.importorskip('mmdet.structures')
    arguments = dict(mean=mean, to_rgb=to_rgb, seg_ignore_label=255, prob=0.7)
    theirs = theirs.Expand(**arguments)
    ours = TRANSFORMS.build(dict(type='mnv2_mm.Expand', **arguments))
    rng = np.random.default_rng(0)
    expanded = 0
    for seed in range(20):
        first = sample(rng, dtype)
        boxes = structures.bbox.HorizontalBoxes(first['gt_bboxes'])
        first['gt_bboxes'] = boxes
        first['gt_masks'] = structures.mask.BitmapMasks(
            rng.integers(0, 2, (2, 30, 40), dtype=np.uint8), 30, 40
        )
        second = copy.deepcopy(first)
        np.random.seed(seed)
        first, after = theirs(first), np.random.uniform()
        np.random.seed(seed)
        second = ours(second)
        assert np.random.uniform() == after
        assert first['img'].dtype == second['img'].dtype
        assert first['img_shape'] == second['img_shape']
        for key in ('img', 'gt_seg_map'):
            assert (first[key] == second[key]).all()
        boxes = first['gt_bboxes'].tensor, second['gt_bboxes'].tensor
        assert torch.equal(*boxes)
        masks = first['gt_masks'].masks, second['gt_masks'].masks
        assert np.array_equal(*masks)
        expanded += first['img_shape'] != (30, 40)
    assert expanded >= 10


@pytest.mark.parametrize('channels', [1, 3, 6])
def test_any_channels_and_boxes_as_arrays(channels):
    expand = Expand(range(channels), ratio_range=(2, 2), prob=1.0)
    first = sample(np.random.default_rng(0), channels=channels)
    del first['gt_seg_map']
    image, boxes = first['img'], first['gt_bboxes']
    found = expand(first)
    assert found['img'].shape == (60, 80, channels)
    left, top = (found['gt_bboxes'] - boxes)[0, :2].astype(int)
    canvas = found['img'].copy()
    assert (canvas[top : top + 30, left : left + 40] == image).all()
    canvas[top : top + 30, left : left + 40] = range(channels)[::-1]
    assert (canvas == np.arange(channels)[::-1]).all()
    moved = found['homography_matrix'] @ [1, 2, 1]
    assert moved.tolist() == [*found['gt_bboxes'][0, :2], 1]


def test_a_mask_needs_a_label():
    with pytest.raises(InputError, match='seg_ignore_label must be set'):
        Expand(prob=1.0)(sample(np.random.default_rng(0)))


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (dict(ratio_range=(0.5, 2)), r'ratio_range=\(0.5, 2\).*begin at 1'),
        (dict(ratio_range=(4, 1)), 'ratio_range'),
        (dict(prob=2), 'prob=2'),
    ],
)
def test_wrong_arguments_are_named(arguments, expected):
    with pytest.raises(InputError, match=expected):
        Expand(**arguments)
