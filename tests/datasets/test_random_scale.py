"""DeepLab's random scale."""

from collections import Counter

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS, DefaultScope

from mnv2_mm.datasets import RandomScaleStep
from mnv2_mm.utils.errors import InputError


@pytest.mark.parametrize(
    ('build', 'expected'),
    [
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
    # of the running scope: a host's, or mmcv's where there is none
    assert type(transform.resize).__name__ == 'Resize'
    assert not type(transform.resize).__module__.startswith('mnv2_mm')
