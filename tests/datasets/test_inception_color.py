"""Inception's distortion of brightness and saturation."""

import colorsys

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from mnv2_mm.datasets import BrightnessSaturation
from mnv2_mm.datasets.transforms.photometric import adjust_saturation
from mnv2_mm.utils.errors import InputError


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)


# By hand from HSV: the saturation is (max - min) / max, a channel is
# max * (1 - saturation * k), and k stays.
@pytest.mark.parametrize(
    ('pixel', 'factor', 'wanted'),
    [
        ((1.0, 0.5, 0.0), 0.5, (1.0, 0.75, 0.5)),
        ((0.8, 0.6, 0.4), 1.5, (0.8, 0.5, 0.2)),  # .5 -> .75, k = 0 .5 1
        ((0.2, 0.8, 0.2), 1.5, (0.0, 0.8, 0.0)),  # .75 -> 1.125 -> 1
        ((0.3, 0.3, 0.3), 1.5, (0.3, 0.3, 0.3)),  # gray
        ((0.0, 0.0, 0.0), 0.5, (0.0, 0.0, 0.0)),
        # what brightness leaves outside [0, 1]: a saturation of 1.25 is 1
        ((-0.1, 0.2, 0.4), 1.0, (0.0, 0.24, 0.4)),
        ((-0.1, -0.2, -0.05), 1.0, (-0.05, -0.05, -0.05)),
    ],
)
def test_saturation_by_hand(pixel, factor, wanted):
    image = np.array(pixel).reshape(3, 1, 1)
    found = adjust_saturation(image, factor)
    assert found[:, 0, 0] == pytest.approx(wanted, abs=1e-12)
    swapped = adjust_saturation(image[::-1], factor)  # BGR
    assert (swapped[::-1] == found).all()


@pytest.mark.parametrize('factor', [0.5, 1.2])
def test_saturation_is_that_of_hsv(factor):
    image = np.random.uniform(size=(3, 5, 6))
    found = adjust_saturation(image, factor)
    pairs = zip(image.reshape(3, -1).T, found.reshape(3, -1).T, strict=True)
    for pixel, other in pairs:
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        saturation = min(1.0, saturation * factor)
        assert other == pytest.approx(
            colorsys.hsv_to_rgb(hue, saturation, value), abs=1e-9
        )


class Fixed(BrightnessSaturation):
    def __init__(self, *numbers):
        super().__init__()
        self._random_numbers = lambda: numbers


# (204, 153, 102) is (.8, .6, .4)
@pytest.mark.parametrize(
    ('numbers', 'wanted'),
    [
        # plus .1 is (.9, .7, .5), saturation 4/9 -> 6/9: (.9, .6, .3)
        ((0.1, 1.5, True), (0.9, 0.6, 0.3)),
        # (.8, .5, .2) plus .1
        ((0.1, 1.5, False), (0.9, 0.6, 0.3)),
        # minus .5 is (.3, .1, -.1), saturation 4/3 -> .667: k = 0 .5 1
        ((-0.5, 0.5, True), (0.3, 0.2, 0.1)),
        # (.8, .7, .6) minus .5
        ((-0.5, 0.5, False), (0.3, 0.2, 0.1)),
        # minus .5, then 4/3 * 1.5 -> 1: a third of .3 each
        ((-0.5, 1.5, True), (0.3, 0.15, 0.0)),
        # (.8, .5, .2) minus .5 is below black
        ((-0.5, 1.5, False), (0.3, 0.0, 0.0)),
        # above white is clipped last: 1.2 .. .8, halved 1.2 1.1 1.0
        ((0.4, 0.5, True), (1.0, 1.0, 1.0)),
    ],
)
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_both_orders_by_hand(numbers, wanted, dtype):
    image = np.array([[[204, 153, 102]]], dtype=dtype)
    found = Fixed(*numbers)(dict(img=image))['img']
    assert found.dtype == dtype
    tolerance = 0.5 if dtype == np.uint8 else 1e-3
    assert found[0, 0] == pytest.approx(np.array(wanted) * 255, abs=tolerance + 1e-3)
    assert image[0, 0].tolist() == [204, 153, 102]


@pytest.mark.parametrize('columns', [1, -1])
def test_bytes_are_the_rounded_floats(columns):
    image = np.random.randint(0, 256, (30, 40, 3)).astype(np.uint8)
    image = image[:, ::columns]
    for numbers in ((0.1, 0.7, True), (-0.1, 1.4, False)):
        floats = Fixed(*numbers)(dict(img=image.astype(np.float32)))['img']
        found = Fixed(*numbers)(dict(img=image))['img']
        assert floats.dtype == np.float32
        assert (found == np.rint(floats)).all()


def test_the_numbers_drawn():
    transform = TRANSFORMS.build(dict(type='mnv2_mm.BrightnessSaturation'))
    drawn = [transform._random_numbers() for _ in range(4000)]
    addition, factor, first = np.array(drawn, dtype=float).T
    limit = 32 / 255
    assert -limit <= addition.min() < -0.99 * limit
    assert 0.99 * limit < addition.max() <= limit
    assert 0.5 <= factor.min() < 0.51 and 1.49 < factor.max() <= 1.5
    assert first.mean() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ('build', 'expected'),
    [
        (lambda: BrightnessSaturation(32), 'max_brightness=32'),
        (lambda: BrightnessSaturation(brightness_first=2), 'brightness_first'),
        (lambda: BrightnessSaturation(0.1, (1.5, 0.5)), 'saturation_range'),
    ],
)
def test_wrong_arguments_are_named(build, expected):
    with pytest.raises(InputError, match=expected):
        build()
