"""mmseg's random crop and color changes: the same, faster."""

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from mnv2_mm.datasets import SegPhotoMetricDistortion, SegRandomCrop
from mnv2_mm.datasets.transforms.seg_random_crop import label_counts
from mnv2_mm.utils.errors import InputError


def theirs(name: str, **arguments):
    transforms = pytest.importorskip('mmseg.datasets.transforms')
    return getattr(transforms, name)(**arguments)


def patches(rng, dtype) -> np.ndarray:
    """A mask (90, 120) of a few large patches, some of them ignored."""
    coarse = rng.choice([0, 0, 0, 0, 1, 2, 255], size=(3, 4))
    return np.kron(coarse, np.ones((30, 30))).astype(dtype)


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
@pytest.mark.parametrize('ratio', [0.5, 0.75, 1.0])
@pytest.mark.parametrize('size', [(40, 50), (60, 200)])
def test_crops_are_mmsegs_from_the_same_seed(dtype, ratio, size):
    arguments = dict(crop_size=size, cat_max_ratio=ratio)
    first = theirs('RandomCrop', **arguments)
    entry = dict(type='mnv2_mm.SegRandomCrop', **arguments)
    second = TRANSFORMS.build(entry)
    rng = np.random.default_rng(0)
    for seed in range(60):
        mask = patches(rng, dtype)
        image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
        found = []
        for transform in (first, second):
            np.random.seed(seed)
            results = dict(img=image, gt_seg_map=mask, seg_fields=['gt_seg_map'])
            found.append((transform(results), np.random.uniform()))
        (wanted, after), (given, same) = found
        assert same == after
        assert given['img_shape'] == wanted['img_shape']
        assert (given['img'] == wanted['img']).all()
        assert (given['gt_seg_map'] == wanted['gt_seg_map']).all()


@pytest.mark.filterwarnings('error')
def test_a_mask_without_a_label():
    mask = np.full((90, 120), 255, np.uint8)
    crop = SegRandomCrop(40, cat_max_ratio=0.5)
    image = np.zeros((90, 120, 3), np.uint8)
    found = crop(dict(img=image, gt_seg_map=mask, seg_fields=['gt_seg_map']))
    assert found['img'].shape == (40, 40, 3)
    assert found['gt_seg_map'].shape == (40, 40)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_labels_are_counted_in_views_too(dtype):
    mask = np.random.default_rng(0).integers(0, 256, (70, 90)).astype(dtype)
    view = mask[10:50, 20:60][:, ::-1]
    counts = label_counts(view)
    assert counts.sum() == 1600
    for label in (0, 7, 254):
        assert counts[label] == (view == label).sum()


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(
            brightness_delta=90,
            contrast_range=(0.1, 3),
            saturation_range=(0.1, 3),
            hue_delta=100,
        ),
    ],
)
@pytest.mark.parametrize('columns', [1, -1])
def test_colors_are_mmsegs_from_the_same_seed(settings, columns):
    """To the last bit."""
    first = theirs('PhotoMetricDistortion', **settings)
    entry = dict(type='mnv2_mm.SegPhotoMetricDistortion', **settings)
    second = TRANSFORMS.build(entry)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image[:9] = image[:9, :, :1]  # gray
    image = image[:, ::columns]
    for seed in range(80):
        np.random.seed(seed)
        wanted, after = first(dict(img=image))['img'], np.random.uniform()
        np.random.seed(seed)
        found = second(dict(img=image))['img']
        assert np.random.uniform() == after
        assert found.dtype == np.uint8 and (found == wanted).all()


@pytest.mark.parametrize(
    ('build', 'expected'),
    [
        (lambda: SegRandomCrop((0, 5)), r'crop_size=\(0, 5\)'),
        (lambda: SegRandomCrop(5, cat_max_ratio=75), 'cat_max_ratio=75'),
        (lambda: SegPhotoMetricDistortion(32, (2, 1)), 'contrast_range'),
    ],
)
def test_wrong_arguments_are_named(build, expected):
    with pytest.raises(InputError, match=expected):
        build()
