"""Brightness and saturation as slim's Inception preprocessing distorts them.

The "fast mode" that MobileNet's official classifiers are trained with. What
differs from torchvision's and the hosts' ``ColorJitter``: brightness is an
addition and not a factor; saturation is that of HSV and not a blend with the
gray image, so it keeps the largest channel; and no value is clipped before
both are done.
"""

import functools

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mnv2_mm.datasets.transforms.contiguous import contiguous
from mnv2_mm.datasets.transforms.distorted_box import checked_range
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """``tf.image.adjust_saturation`` of floats, without a detour by HSV.

    In HSV a channel is ``value * (1 - saturation * k)``, where k hangs on
    the hue alone. So a saturation times r moves each channel to r times its
    distance from the largest; r is the factor, or less where the saturation
    would pass 1. The order of the channels does not matter.

    Args:
        image: (H, W, 3), white is 1. Values outside [0, 1] are taken as TF
            takes them: a pixel without a positive channel turns gray.
        factor: What the saturation is multiplied by, at least 0.

    Returns:
        (H, W, 3), not clipped.
    """
    return np.moveaxis(_saturated(np.moveaxis(image, 2, 0), factor), 0, 2)


def _saturated(channels: np.ndarray, factor: float) -> np.ndarray:
    """:func:`adjust_saturation` of (3, H, W).

    numpy goes along the last axis, which had better not be one of three.
    """
    largest = functools.reduce(np.maximum, channels)
    spread = largest - functools.reduce(np.minimum, channels)
    # largest / spread is the inverse of the saturation
    limit = np.divide(largest, spread, out=np.zeros_like(largest), where=spread > 0)
    ratio = limit.clip(0, factor)
    return largest - (largest - channels) * ratio


@TRANSFORMS.register_module()
class BrightnessSaturation(BaseTransform):
    """Distort brightness and saturation, in random order.

    Args:
        max_brightness: The largest addition or subtraction, white being 1.
        saturation_range: Factors of the saturation.
        brightness_first: Probability that brightness comes first. slim draws
            one of four orders, of which its fast mode knows two: the first
            draw is brightness first, the other three are not.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        max_brightness: float = 32.0 / 255.0,
        saturation_range: tuple[float, float] = (0.5, 1.5),
        *,
        brightness_first: float = 0.25,
    ) -> None:
        for name, value in (
            ('max_brightness', max_brightness),
            ('brightness_first', brightness_first),
        ):
            if not 0 <= value <= 1:
                raise InputError(
                    f'BrightnessSaturation: {name}={value!r} must be between 0 and 1'
                )
        self.max_brightness = max_brightness
        self.saturation_range = checked_range('saturation_range', saturation_range)
        self.brightness_first = brightness_first

    @cache_randomness
    def _random_numbers(self) -> tuple[float, float, bool]:
        """Addition, factor, and whether the addition comes first."""
        return (
            np.random.uniform(-self.max_brightness, self.max_brightness),
            np.random.uniform(*self.saturation_range),
            np.random.uniform() < self.brightness_first,
        )

    def transform(self, results: dict) -> dict:
        """Distort ``img`` (H, W, 3) in 0 to 255.

        Its dtype is kept; for whole numbers the result is rounded, the only
        rounding that there is.
        """
        image = results['img']
        addition, factor, first = self._random_numbers()
        changed = np.stack(cv2.split(contiguous(image)), dtype=np.float32)
        changed /= 255
        if first:
            changed += np.float32(addition)
        changed = _saturated(changed, np.float32(factor))
        if not first:
            changed += np.float32(addition)
        changed = changed.clip(0, 1, out=changed)
        changed *= 255
        if np.issubdtype(image.dtype, np.integer):
            np.rint(changed, out=changed)
        results['img'] = cv2.merge(list(changed.astype(image.dtype)))
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(max_brightness={self.max_brightness:g}, '
            f'saturation_range={self.saturation_range}, '
            f'brightness_first={self.brightness_first})'
        )
