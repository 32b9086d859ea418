"""mmseg's color changes by look-up tables.

Each of them takes a byte to a byte, so that a table of 256 entries does what
mmseg does with floats pixel by pixel.
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mnv2_mm.datasets.transforms.contiguous import contiguous
from mnv2_mm.datasets.transforms.distorted_box import checked_range
from mnv2_mm.registry import TRANSFORMS

_HUES = 180  # OpenCV's HSV in bytes counts them by two degrees


@TRANSFORMS.register_module()
class SegPhotoMetricDistortion(BaseTransform):
    """mmseg's ``PhotoMetricDistortion``: the same from the same numbers.

    Brightness, contrast, saturation and hue, each with a probability of one
    half; contrast comes second or last. Every step cuts its result to whole
    numbers from 0 to 255.

    Args:
        brightness_delta: The largest addition or subtraction.
        contrast_range: Factors of all values.
        saturation_range: Factors of the saturation of HSV.
        hue_delta: The largest turn of the hue, in units of two degrees.

    Raises:
        InputError: a range is none.
    """

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        self.ranges = dict(
            brightness=(-brightness_delta, brightness_delta),
            contrast=checked_range('contrast_range', contrast_range),
            saturation=checked_range('saturation_range', saturation_range),
            hue=(-hue_delta, hue_delta),
        )

    @cache_randomness
    def _random_steps(self) -> list[tuple[str, float]]:
        """What to do by which number, drawn in mmseg's order."""
        steps = self._drawn('brightness')
        names = ['saturation', 'hue']
        names.insert(0 if np.random.randint(2) else 2, 'contrast')
        for name in names:
            steps += self._drawn(name)
        return steps

    def _drawn(self, name: str) -> list[tuple[str, float]]:
        """A step, or with a probability of one half none."""
        if not np.random.randint(2):
            return []
        draw = np.random.randint if name == 'hue' else np.random.uniform
        return [(name, draw(*self.ranges[name]))]

    def transform(self, results: dict) -> dict:
        """Distort ``img`` (H, W, 3), BGR, uint8; it stays uint8."""
        image = contiguous(results['img'])
        for name, number in self._random_steps():
            if name == 'brightness':
                image = cv2.LUT(image, _table(added=number))
            elif name == 'contrast':
                image = cv2.LUT(image, _table(factor=number))
            elif name == 'saturation':
                image = _in_hsv(image, 1, _table(factor=number))
            else:
                hues = (np.arange(256) + number) % _HUES
                image = _in_hsv(image, 0, hues.astype(np.uint8))
        results['img'] = image
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.ranges})'


def _table(factor: float = 1.0, added: float = 0.0) -> np.ndarray:
    """Every byte times a factor plus an addition, clipped and cut, (256,)."""
    values = np.arange(256, dtype=np.float32) * np.float32(factor)
    return (values + np.float32(added)).clip(0, 255).astype(np.uint8)


def _in_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    """Put one channel of HSV through a table."""
    tables = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    tables[0, :, channel] = table
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2BGR)
