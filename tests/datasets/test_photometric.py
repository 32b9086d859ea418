"""mmdet's color changes, and copies of flipped images."""

import copy
import inspect

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from mnv2_mm.datasets import PhotoMetricDistortion
from mnv2_mm.datasets.transforms.contiguous import contiguous
from mnv2_mm.datasets.transforms.photometric import _rounded
from mnv2_mm.utils.errors import InputError


@pytest.fixture(scope='module')
def photo():
    """Every kind of color: saturated, gray, black and white among them."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image[:10, :, 1] = image[:10, :, 0]
    image[:5, :, 2] = image[:5, :, 0]
    image[10:12], image[12:14], image[14:20, :, 2] = 0, 255, 255
    return image


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(swap_channels=False),
        dict(
            brightness_delta=90,
            contrast_range=(0.8, 1.2),
            saturation_range=(0.1, 3),
            hue_delta=300,
        ),
    ],
)
@pytest.mark.parametrize('flip', [False, True])
def test_the_same_as_of_mmdet_from_the_same_seed(photo, settings, flip):
    theirs = pytest.importorskip('mmdet.datasets.transforms').PhotoMetricDistortion
    unknown = settings.keys() - inspect.signature(theirs).parameters
    if unknown:
        pytest.skip(f'this mmdet has no {", ".join(unknown)}')
    theirs = theirs(**settings)
    entry = dict(type='mnv2_mm.PhotoMetricDistortion', **settings)
    ours = TRANSFORMS.build(entry)
    rounding = TRANSFORMS.build(dict(entry, to_uint8=True))
    image = photo[:, ::-1] if flip else photo
    for seed in range(60):
        np.random.seed(seed)
        wanted, after = theirs(dict(img=image))['img'], np.random.uniform()
        np.random.seed(seed)
        found = ours(dict(img=image))['img']
        assert np.random.uniform() == after
        assert found.dtype == np.float32 and found.flags.c_contiguous
        # of up to 700, in 32 bits
        assert np.abs(found - wanted).max() < 1e-3
        np.random.seed(seed)
        whole = rounding(dict(img=image))['img']
        assert whole.dtype == np.uint8
        assert np.abs(whole - wanted.clip(0, 255)).max() <= 0.501
    assert (image == (photo[:, ::-1] if flip else photo)).all()


def test_rounding_by_hand():
    floats = np.array([[[-9, -0.6, 0.4], [99.6, 255.4, 600]]], np.float32)
    assert _rounded(floats).tolist() == [[[0, 0, 0], [100, 255, 255]]]


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (dict(hue_delta=361), 'hue_delta=361'),
        (dict(contrast_range=(0, 1)), 'contrast_range'),
        (dict(saturation_range=(2, 1)), 'saturation_range'),
    ],
)
def test_wrong_arguments_are_named(arguments, expected):
    with pytest.raises(InputError, match=expected):
        PhotoMetricDistortion(**arguments)


@pytest.mark.parametrize('channels', [(), (1,), (3,)])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('rows', [1, -1])
@pytest.mark.parametrize('columns', [1, -1])
def test_flipped_views_are_copied(channels, dtype, rows, columns):
    image = np.random.default_rng(0).integers(0, 256, (7, 9, *channels))
    view = image.astype(dtype)[::rows, ::columns]
    found = contiguous(view)
    assert found.flags.c_contiguous and found.dtype == dtype
    assert found.shape == view.shape and (found == view).all()
    assert (found is view) == (rows == columns == 1)
    crop = view[2:5, 1:4]
    assert (contiguous(crop) == crop).all()


def test_the_transform_copies_photo_and_mask(photo):
    step = TRANSFORMS.build(dict(type='mnv2_mm.Contiguous'))
    mask = photo[..., 0]
    found = step(dict(img=photo[:, ::-1], gt_seg_map=mask[:, ::-1]))
    assert (found['img'] == photo[:, ::-1]).all()
    assert (found['gt_seg_map'] == mask[:, ::-1]).all()
    assert found['img'].flags.c_contiguous
    assert found['gt_seg_map'].flags.c_contiguous
    assert step(copy.copy(found)) == found
