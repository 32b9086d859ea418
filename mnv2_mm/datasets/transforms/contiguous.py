"""Copy a flipped image into contiguous memory, with OpenCV.

The hosts' ``RandomFlip`` returns a view with a negative stride. The next copy
(packing at the latest) is slow: numpy copies such a view pixel by pixel.
Measured at 320x320: 0.8 ms -> 0.04 ms (one thread, AMD EPYC).
"""

import cv2
import numpy as np

from mnv2_mm.datasets.transforms.base import Transform
from mnv2_mm.registry import TRANSFORMS

#: cv2.flip's codes by (rows, columns) with a negative stride.
_CODES = {(True, False): 0, (False, True): 1, (True, True): -1}


def contiguous(image: np.ndarray) -> np.ndarray:
    """An image or mask (H, W, ...) in contiguous memory, copied if needed."""
    backwards = tuple(stride < 0 for stride in image.strides[:2])
    code = _CODES.get(backwards)
    if code is None:
        return np.ascontiguousarray(image)
    forwards = tuple(slice(None, None, -1 if b else 1) for b in backwards)
    # cv2 drops a single channel's axis
    return cv2.flip(image[forwards], code).reshape(image.shape)


@TRANSFORMS.register_module()
class Contiguous(Transform):
    """Make flipped images contiguous; put it after ``RandomFlip``."""

    def transform(self, results: dict) -> dict:
        """Copy ``img`` (H, W, ...) and ``gt_seg_map`` (H, W) if needed."""
        for key in ('img', 'gt_seg_map'):
            if results.get(key) is not None:
                results[key] = contiguous(results[key])
        return results
