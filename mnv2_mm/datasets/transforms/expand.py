"""SSD's zoom-out as mmdet does it, at a fraction of its time.

mmdet fills a canvas of up to 16 images color by color. Filling one row
and copying it is ten times as fast.
"""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mnv2_mm.datasets.transforms.cropping import record_shift
from mnv2_mm.datasets.transforms.deferred import DeferredPicture
from mnv2_mm.datasets.transforms.distorted_box import checked_range
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


@TRANSFORMS.register_module()
class Expand(BaseTransform):
    """mmdet's ``Expand``: same canvas for the same random numbers.

    The image is put somewhere on a canvas of one color.

    Args:
        mean: The color, 0 to 255; cut to whole numbers for whole pixels.
        to_rgb: The color is in RGB order and the image in BGR.
        ratio_range: Sides of the canvas over those of the image; the least
            is 1 or more.
        seg_ignore_label: What ``gt_seg_map`` is filled with; needed only
            where there is one.
        prob: Probability that an image is put on a canvas.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0, 0, 0),
        to_rgb: bool = True,
        ratio_range: tuple[float, float] = (1, 4),
        seg_ignore_label: int | None = None,
        prob: float = 0.5,
    ) -> None:
        self.ratio_range = checked_range('ratio_range', ratio_range)
        if self.ratio_range[0] < 1:
            raise InputError(
                f'Expand: ratio_range={ratio_range!r} must begin at 1 or '
                'more; the canvas has to hold the image'
            )
        if not 0 <= prob <= 1:
            raise InputError(f'Expand: prob={prob!r} must be between 0 and 1')
        self.color = tuple(mean[::-1] if to_rgb else mean)
        self.seg_ignore_label = seg_ignore_label
        self.prob = prob

    @cache_randomness
    def _random_place(self, height: int, width: int) -> tuple[float, int, int] | None:
        """Ratio, left and top, or None to keep the image."""
        if np.random.uniform(0, 1) > self.prob:
            return None
        ratio = np.random.uniform(*self.ratio_range)
        left = int(np.random.uniform(0, width * ratio - width))
        top = int(np.random.uniform(0, height * ratio - height))
        return ratio, left, top

    def transform(self, results: dict) -> dict:
        """Put ``img`` and everything that belongs to it on a canvas.

        Args:
            results: mmdet's: ``img`` (H, W, C) and, each where it is there,
                ``gt_bboxes``, ``gt_masks`` and ``gt_seg_map``.

        Returns:
            The results; ``img_shape`` and ``homography_matrix`` follow.

        Raises:
            InputError: there is a mask and no label to fill it with.
        """
        image = results['img']
        height, width = image.shape[:2]
        place = self._random_place(height, width)
        if place is None:
            return results
        ratio, left, top = place
        size = int(height * ratio), int(width * ratio)
        if isinstance(image, DeferredPicture):
            results['img'] = image.on_canvas(size, left, top, self.color)
        else:
            results['img'] = _on_canvas(image, size, left, top, self.color)
        results['img_shape'] = size
        boxes = results.get('gt_bboxes')
        if isinstance(boxes, np.ndarray):
            results['gt_bboxes'] = boxes + np.array([left, top] * 2, dtype=boxes.dtype)
        elif boxes is not None:
            boxes.translate_([left, top])
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].expand(*size, top, left)
        if results.get('gt_seg_map') is not None:
            if self.seg_ignore_label is None:
                raise InputError(
                    'Expand: seg_ignore_label must be set, to 255 as a rule: '
                    'there is a mask to fill'
                )
            results['gt_seg_map'] = _on_canvas(
                results['gt_seg_map'], size, left, top, self.seg_ignore_label
            )
        record_shift(results, left, top)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(color={self.color}, '
            f'ratio_range={self.ratio_range}, '
            f'seg_ignore_label={self.seg_ignore_label}, prob={self.prob})'
        )


def _on_canvas(
    image: np.ndarray,
    size: tuple[int, int],
    left: int,
    top: int,
    color: float | Sequence[float],
) -> np.ndarray:
    """The image on a canvas of ``size`` (height, width)."""
    height, width = image.shape[:2]
    canvas = np.empty((*size, *image.shape[2:]), image.dtype)
    canvas[:] = np.full(canvas.shape[1:], color, image.dtype)
    canvas[top : top + height, left : left + width] = image
    return canvas
