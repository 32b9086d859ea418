"""TensorFlow's random windows and the crops of Inception's preprocessing."""

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from mnv2_mm.datasets import CentralCrop, DistortedCrop
from mnv2_mm.datasets.transforms.distorted_box import sample_distorted_box
from mnv2_mm.datasets.transforms.geometry import Window
from mnv2_mm.utils.errors import InputError


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)


def windows(count: int, *args, **kwargs) -> np.ndarray:
    return np.array([sample_distorted_box(*args, **kwargs) for _ in range(count)])


# -- the window --------------------------------------------------------------
def test_windows_keep_the_ranges():
    """Rounding to pixels costs at most half a pixel of the width."""
    found = windows(2000, 240, 320, area_range=(0.1, 0.6))
    left, top, right, bottom = found.T
    height, width = bottom - top, right - left
    assert left.min() >= 0 and top.min() >= 0
    assert right.max() <= 320 and bottom.max() <= 240
    area = height * width / (240 * 320)
    assert 0.1 <= area.min() < 0.12 and 0.5 < area.max() <= 0.6
    low, high = (width - 0.5) / height, (width + 0.5) / height
    assert (high >= 0.75).all() and (low <= 1.33).all()
    assert low.min() < 0.8 and high.max() > 1.25


def test_the_height_is_uniform_and_the_aspect_is_too():
    """At aspect 1 from 10 to 100 rows; the mean area tells.

    With a uniform height it is (100^3 - 10^3) / (3 * 90) = 3700 pixels, with
    a uniform area it would be 5050.
    """
    found = windows(
        1500,
        100,
        100,
        aspect_ratio_range=(1, 1),
        area_range=(0.01, 1.0),
        min_object_covered=0,
    )
    height = found[:, 3] - found[:, 1]
    assert (height == found[:, 2] - found[:, 0]).all()
    assert (height.min(), height.max()) == (10, 100)
    assert (height**2).mean() == pytest.approx(3700, rel=0.05)
    # a fixed small area: sqrt(area / aspect) rows, aspect uniform in 1..4,
    # whose mean height is 10 * (4^.5 - 1^.5) * 2 / 3 = 6.667
    found = windows(
        1500,
        100,
        100,
        aspect_ratio_range=(1, 4),
        area_range=(0.009, 0.011),
        min_object_covered=0,
    )
    height = found[:, 3] - found[:, 1]
    assert height.mean() == pytest.approx(6.667, rel=0.02)


def test_one_object_has_to_be_covered():
    boxes = np.array([[10, 10, 50, 50], [150, 60, 190, 100]], dtype=float)
    found = windows(500, 120, 200, boxes, min_object_covered=0.7)

    def share(box):
        width = np.minimum(found[:, 2], box[2]) - np.maximum(found[:, 0], box[0])
        height = np.minimum(found[:, 3], box[3]) - np.maximum(found[:, 1], box[1])
        return width.clip(0) * height.clip(0) / 1600

    shares = np.stack([share(box) for box in boxes])
    assert (shares.max(axis=0) >= 0.7).all()
    assert (shares.min(axis=0) < 0.7).any()


@pytest.mark.parametrize(
    'boxes',
    [
        [[5.2, 5.2, 5.8, 5.8]],  # no whole pixel
        [[300, 300, 400, 400]],  # outside
        [[50, 50, 20, 20]],  # corners swapped
    ],
)
def test_the_whole_image_where_nothing_can_be_covered(boxes):
    found = sample_distorted_box(60, 80, np.array(boxes), min_object_covered=0)
    assert found == Window(0, 0, 80, 60)
    whole = sample_distorted_box(
        60, 80, np.array([[0, 0, 80, 60]]), min_object_covered=1.0
    )
    assert whole == Window(0, 0, 80, 60)


def test_an_image_of_one_pixel():
    assert sample_distorted_box(1, 1) == Window(0, 0, 1, 1)


# -- Inception's crops -------------------------------------------------------
def test_distorted_crop_covers_a_tenth_of_the_image():
    """The area begins at .05 by name, at .1 by the object to be covered."""
    crop = DistortedCrop(32)
    areas = []
    original = crop._random_window

    def seen(*size):
        window = original(*size)
        areas.append(window.height * window.width / (size[0] * size[1]))
        return window

    crop._random_window = seen
    image = np.random.randint(0, 256, (80, 100, 3)).astype(np.uint8)
    for _ in range(400):
        found = crop(dict(img=image))
        assert found['img'].shape == (32, 32, 3)
        assert found['img_shape'] == (32, 32)
    assert 0.1 <= min(areas) < 0.13
    crop.min_object_covered = 0
    for _ in range(400):
        crop(dict(img=image))
    assert 0.05 <= min(areas) < 0.07


def test_distorted_crop_takes_width_and_height():
    found = DistortedCrop((40, 20))(dict(img=np.zeros((50, 50, 3), np.uint8)))
    assert found['img'].shape == (20, 40, 3)


@pytest.mark.parametrize(
    ('shape', 'fraction', 'rows', 'columns'),
    [
        # the frame is a sixteenth of each side, rounded down
        ((160, 320), 0.875, (10, 150), (20, 300)),
        ((333, 500), 0.875, (20, 313), (31, 469)),
        ((7, 9), 0.5, (1, 6), (2, 7)),
        ((7, 9), 1.0, (0, 7), (0, 9)),
    ],
)
def test_central_crop(shape, fraction, rows, columns):
    image = np.random.randint(0, 256, (*shape, 3)).astype(np.uint8)
    found = CentralCrop(fraction)(dict(img=image))
    assert (found['img'] == image[slice(*rows), slice(*columns)]).all()
    assert found['img_shape'] == found['img'].shape[:2]


@pytest.mark.parametrize(
    ('build', 'expected'),
    [
        (lambda: CentralCrop(87.5), 'fraction=87.5'),
        (lambda: DistortedCrop(8, min_object_covered=-1), 'min_object'),
        (lambda: DistortedCrop(8, area_range=0.5), 'area_range=0.5'),
    ],
)
def test_wrong_arguments_are_named(build, expected):
    with pytest.raises(InputError, match=expected):
        build()


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='mnv2_mm.SSDRandomCrop'),
        dict(type='mnv2_mm.DistortedCrop', scale=8),
        dict(type='mnv2_mm.CentralCrop'),
    ],
)
def test_a_seed_repeats_the_crop(transform):
    transform = TRANSFORMS.build(transform)
    image = np.random.randint(0, 256, (50, 60, 3)).astype(np.uint8)
    found = []
    for _ in range(2):
        np.random.seed(3)
        found.append([transform(dict(img=image))['img'] for _ in range(5)])
    for first, second in zip(*found, strict=True):
        assert (first == second).all()
    assert type(transform).__name__ in repr(transform)
