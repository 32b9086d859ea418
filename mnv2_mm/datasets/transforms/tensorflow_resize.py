"""Resize as TensorFlow 1, for evaluations by the publishers' protocols.

Sample i of n lies at i * side / n in TensorFlow 1, and half a pixel further on in
OpenCV, Pillow and torch. No flag of theirs has these positions; OpenCV's remap has
them, but rounds weights to 1/32.
"""

import numpy as np

from mnv2_mm.datasets.transforms.base import Transform
from mnv2_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TensorFlowResize(Transform):
    """Resize an image bilinearly, aspect not kept: ``tf.image.resize_bilinear``.

    The default of TensorFlow 1 (``align_corners=False``, no half-pixel centers), with
    which Google's classifiers and detectors were evaluated. The result is not rounded.

    Args:
        scale: Side of a square, or (width, height), in pixels.
    """

    def __init__(self, scale: int | tuple[int, int]) -> None:
        self.scale = (scale, scale) if isinstance(scale, int) else tuple(scale)

    def transform(self, results: dict) -> dict:
        """Resize ``img`` (H, W, C) to float32; boxes and masks are not resized."""
        image = results['img']
        height, width = image.shape[:2]
        new_width, new_height = self.scale
        image = _interpolate(image.astype(np.float32), new_height, axis=0)
        results['img'] = _interpolate(image, new_width, axis=1)
        results['img_shape'] = (new_height, new_width)
        results['scale_factor'] = (new_width / width, new_height / height)
        results['keep_ratio'] = False
        return results


def _interpolate(image: np.ndarray, count: int, *, axis: int) -> np.ndarray:
    """Take ``count`` samples of one side of an image (H, W, C)."""
    side = image.shape[axis]
    place = np.arange(count, dtype=np.float32) * np.float32(side / count)
    first = place.astype(np.intp)
    share = place - first.astype(np.float32)
    share = share.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    low = image.take(first, axis)
    high = image.take(np.minimum(first + 1, side - 1), axis)
    return low + (high - low) * share
