"""SSD's color changes as mmdet does them, faster, and in bytes if wanted.

The network gets mmdet's as floats: four times the memory on the way from a
worker to the device, with values below 0 and above 255, which no photo has.
The SSD paper's own code clips and rounds, and so does mmseg's transform of
this name (which is not meant here).
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mnv2_mm.datasets.transforms.contiguous import contiguous
from mnv2_mm.datasets.transforms.distorted_box import checked_range
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """mmdet's ``PhotoMetricDistortion``: the same from the same numbers.

    Brightness, contrast, saturation, hue and the order of the channels, each
    with a probability of one half; contrast comes second or last but one.

    Args:
        brightness_delta: The largest addition or subtraction, of 255.
        contrast_range: Factors of all values.
        saturation_range: Factors of the saturation of HSV.
        hue_delta: The largest turn of the hue, in degrees.
        swap_channels: Whether to exchange channels too.
        to_uint8: Clip the result to 0 to 255 and round it. Off, it is
            float32 as mmdet's.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: float = 18,
        swap_channels: bool = True,
        *,
        to_uint8: bool = False,
    ) -> None:
        if not 0 <= hue_delta <= 360:
            raise InputError(
                f'PhotoMetricDistortion: hue_delta={hue_delta!r} must be '
                'between 0 and 360 degrees'
            )
        self.brightness_delta = brightness_delta
        self.contrast_range = checked_range('contrast_range', contrast_range)
        self.saturation_range = checked_range('saturation_range', saturation_range)
        self.hue_delta = hue_delta
        self.swap_channels = swap_channels
        self.to_uint8 = to_uint8

    @cache_randomness
    def _random_numbers(self) -> dict:
        """What to do; None for what is left out. Drawn in mmdet's order."""
        coin, uniform = np.random.randint, np.random.uniform
        contrast_last = not coin(2)
        brightness, contrast, saturation, hue = (coin(2) for _ in range(4))
        swap = coin(2) if self.swap_channels else 0
        drawn = dict(
            brightness=uniform(-self.brightness_delta, self.brightness_delta),
            contrast=uniform(*self.contrast_range),
            saturation=uniform(*self.saturation_range),
            hue=uniform(-self.hue_delta, self.hue_delta),
            swap=np.random.permutation(3),
        )
        flags = (brightness, contrast, saturation, hue, swap)
        return dict(
            contrast_last=contrast_last,
            **{
                name: value if flag else None
                for (name, value), flag in zip(drawn.items(), flags, strict=True)
            },
        )

    def transform(self, results: dict) -> dict:
        """Distort ``img`` (H, W, 3), BGR, 0 to 255.

        Returns:
            The results with ``img`` as float32, or uint8 with ``to_uint8``.
        """
        do = self._random_numbers()
        image = contiguous(results['img']).astype(np.float32)
        if do['brightness'] is not None:
            image += do['brightness']
        if do['contrast'] is not None and not do['contrast_last']:
            image *= do['contrast']
        turn = do['saturation'] is not None or do['hue'] is not None
        # The way to HSV and back changes negative values, in mmdet too.
        if turn or (do['brightness'] or 0) < 0:
            image = _in_hsv(image, do['saturation'], do['hue'])
        if do['contrast'] is not None and do['contrast_last']:
            image *= do['contrast']
        if do['swap'] is not None:
            image = _swapped(image, do['swap'])
        results['img'] = _rounded(image) if self.to_uint8 else image
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}('
            f'brightness_delta={self.brightness_delta}, '
            f'contrast_range={self.contrast_range}, '
            f'saturation_range={self.saturation_range}, '
            f'hue_delta={self.hue_delta}, '
            f'swap_channels={self.swap_channels}, '
            f'to_uint8={self.to_uint8})'
        )


def _in_hsv(
    image: np.ndarray, factor: float | None, degrees: float | None
) -> np.ndarray:
    """Multiply the saturation and turn the hue of floats (H, W, 3), BGR."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    if factor is not None:
        saturation = hsv[..., 1] * np.float32(factor)
        if factor > 1:  # smaller ones above 1 are left, as in mmdet
            saturation = saturation.clip(0, 1)
        hsv[..., 1] = saturation
    if degrees is not None:
        hue = hsv[..., 0] + np.float32(degrees)
        if degrees > 0:
            np.subtract(hue, 360, out=hue, where=hue > 360)
        else:
            np.add(hue, 360, out=hue, where=hue < 0)
        hsv[..., 0] = hue
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _swapped(image: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``image[..., order]``, (H, W, 3), copied by OpenCV."""
    swapped = np.empty_like(image)
    pairs = [i for target in range(3) for i in (int(order[target]), target)]
    cv2.mixChannels([image], [swapped], pairs)
    return swapped


def _rounded(image: np.ndarray) -> np.ndarray:
    """Floats as uint8: clipped, and rounded to the nearest."""
    return cv2.convertScaleAbs(np.maximum(image, 0, out=image))
