"""Resizing: mmdet's to a fixed size, and DeepLab's random scale."""

from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS, DefaultScope

from mnv2_mm.datasets import RandomScaleStep, Resize
from mnv2_mm.utils.errors import InputError


def det_results(seed: int) -> dict:
    """What MinIoURandomCrop may leave of an image."""
    structures = pytest.importorskip('mmdet.structures')
    rng = np.random.default_rng(seed)
    height, width = rng.integers(60, 300, 2).tolist()
    corner = rng.uniform(-9, 0.5, (3, 2)) * (width, height)
    boxes = np.concatenate([corner, corner + rng.uniform(0, 400, (3, 2))], 1)
    bitmaps = rng.integers(0, 2, (3, height, width), dtype=np.uint8)
    return dict(
        img=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        gt_bboxes=structures.bbox.HorizontalBoxes(boxes.astype(np.float32)),
        gt_masks=structures.mask.BitmapMasks(bitmaps, height, width),
        gt_seg_map=rng.integers(0, 7, (height, width), dtype=np.uint8),
        homography_matrix=np.diag([2.0, 3.0, 1.0]).astype(np.float32),
    )


@pytest.mark.parametrize('seed', range(6))
def test_resize_is_mmdets(seed):
    found, wanted = det_results(seed), det_results(seed)
    settings = dict(scale=(150, 90), keep_ratio=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        wanted = TRANSFORMS.build(dict(type='mmdet.Resize', **settings))(wanted)
    found = TRANSFORMS.build(dict(type='mnv2_mm.Resize', **settings))(found)
    assert set(found) == set(wanted)
    for key in ('img', 'gt_seg_map'):
        assert (found[key] == wanted[key]).all()
    boxes = found['gt_bboxes'].tensor, wanted['gt_bboxes'].tensor
    assert torch.equal(*boxes)
    assert (found['gt_masks'].masks == wanted['gt_masks'].masks).all()
    for key in ('img_shape', 'scale', 'scale_factor', 'keep_ratio'):
        assert found[key] == wanted[key]
    assert found['homography_matrix'] == pytest.approx(wanted['homography_matrix'])


def test_resize_of_arrays_and_masks():
    structures = pytest.importorskip('mmdet.structures.mask')
    resize = TRANSFORMS.build(dict(type='mnv2_mm.Resize', scale=40))
    bitmap = np.zeros((1, 10, 20), np.uint8)
    bitmap[:, 2:4, 5:10] = 1
    found = resize(
        dict(
            img=np.zeros((10, 20, 3), np.uint8),
            gt_bboxes=np.array([[5, 2, 10, 4], [15, 8, 25, 12]], np.float32),
            gt_masks=structures.BitmapMasks(bitmap, 10, 20),
        )
    )
    assert found['img'].shape == (40, 40, 3)
    assert found['gt_bboxes'].tolist() == [[10, 8, 20, 16], [30, 32, 40, 40]]
    assert found['gt_masks'].masks.shape == (1, 40, 40)
    assert found['gt_masks'].masks.sum() == 2 * 5 * 8
    assert 'scale=(40, 40)' in repr(resize)


@pytest.mark.parametrize(
    ('build', 'expected'),
    [
        (lambda: Resize(9, keep_ratio=True), 'keep_ratio=True'),
        (lambda: Resize((0, 9)), r'scale=\(0, 9\)'),
        (lambda: RandomScaleStep(0.5, 2.0, 0.4), 'step=0.4'),
        (lambda: RandomScaleStep(0.5, 2.0, 0), 'step=0'),
        (lambda: RandomScaleStep(2.0, 0.5), 'min_scale=2.0'),
        (lambda: RandomScaleStep(0.0, 2.0), 'min_scale=0.0'),
    ],
)
def test_wrong_arguments_are_named(build, expected):
    with pytest.raises(InputError, match=expected):
        build()


def test_scales_of_the_deeplab_code():
    """Seven factors, each as often; sides are truncated, not rounded."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        transform = TRANSFORMS.build(dict(type='mnv2_mm.RandomScaleStep'))
    mask = np.arange(33 * 45).reshape(33, 45).astype(np.uint8)
    seen = Counter()
    for _ in range(1400):
        found = transform(
            dict(
                img=np.zeros((33, 45, 3), np.uint8),
                gt_seg_map=mask,
                seg_fields=['gt_seg_map'],
            )
        )
        assert found['gt_seg_map'].shape == found['img'].shape[:2]
        assert set(np.unique(found['gt_seg_map'])) <= set(np.unique(mask))
        seen[found['img_shape']] += 1
    # 33 and 45 times .5 .75 1 1.25 1.5 1.75 2
    heights = [16, 24, 33, 41, 49, 57, 66]
    widths = [22, 33, 45, 56, 67, 78, 90]
    assert set(seen) == set(zip(heights, widths, strict=True))
    assert min(seen.values()) > 140 and max(seen.values()) < 260


def test_one_factor_alone():
    transform = RandomScaleStep(1.0, 1.0, 1.0)
    assert transform.factors.tolist() == [1.0]
    assert 'factors=' in repr(transform)
    # the host's, and mmcv's where there is no host
    assert type(transform.resize).__module__.startswith('mmcv')
