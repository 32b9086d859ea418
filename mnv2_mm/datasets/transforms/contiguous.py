"""Copy a flipped image into the usual order, with OpenCV.

The hosts' ``RandomFlip`` leaves a view that runs backwards through memory.
Whoever copies it next, the packing at the latest, pays: numpy goes through it
pixel by pixel, some ten times as long as OpenCV.
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mnv2_mm.registry import TRANSFORMS

#: cv2.flip's codes, by (rows, columns) that run backwards.
_CODES = {(True, False): 0, (False, True): 1, (True, True): -1}


def contiguous(image: np.ndarray) -> np.ndarray:
    """The same image or mask (H, W, ...), rows one after the other.

    Returns:
        A copy, or ``image`` itself if it is in this order.
    """
    backwards = tuple(stride < 0 for stride in image.strides[:2])
    code = _CODES.get(backwards)
    if code is None:
        return np.ascontiguousarray(image)
    forwards = tuple(slice(None, None, -1 if b else 1) for b in backwards)
    # cv2 drops a single channel's axis
    return cv2.flip(image[forwards], code).reshape(image.shape)


@TRANSFORMS.register_module()
class Contiguous(BaseTransform):
    """Goes behind ``RandomFlip``; changes no value."""

    def transform(self, results: dict) -> dict:
        """Copy ``img`` (H, W, ...) and ``gt_seg_map`` (H, W) if need be."""
        for key in ('img', 'gt_seg_map'):
            if results.get(key) is not None:
                results[key] = contiguous(results[key])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
