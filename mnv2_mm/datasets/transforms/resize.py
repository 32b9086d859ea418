"""mmdet's resizing, which decodes what was deferred."""

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from mnv2_mm.datasets.transforms.cropping import record_homography
from mnv2_mm.datasets.transforms.deferred import resized
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


@TRANSFORMS.register_module()
class Resize(BaseTransform):
    """mmdet's ``Resize`` to a fixed size, aspect not kept.

    With ``LoadImage(deferred=True)`` it also decodes, see
    :mod:`mnv2_mm.datasets.transforms.deferred`.

    Args:
        scale: (width, height) in pixels, or the side of a square.
        keep_ratio: False; other values are for mmdet's own.
        interpolation: As in mmcv.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        scale: int | tuple[int, int],
        keep_ratio: bool = False,
        interpolation: str = 'bilinear',
    ) -> None:
        if isinstance(scale, int):
            scale = (scale, scale)
        if len(scale) != 2 or min(scale) < 1 or keep_ratio:
            raise InputError(
                f'mnv2_mm.Resize: scale={scale!r} must be (width, height) in '
                f'pixels and keep_ratio={keep_ratio!r} False; mmdet has a '
                'Resize for other cases'
            )
        self.scale = tuple(scale)
        self.keep_ratio = keep_ratio
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        """Resize ``img`` and everything that belongs to it.

        Args:
            results: mmdet's: ``img`` (H, W, C) or a deferred image and,
                each where it is there, ``gt_bboxes``, ``gt_masks`` and
                ``gt_seg_map``.

        Returns:
            The results; ``img_shape``, ``scale``, ``scale_factor``,
            ``keep_ratio`` and ``homography_matrix`` follow.
        """
        image, size = results['img'], tuple(self.scale)
        height, width = image.shape[:2]
        factor = size[0] / width, size[1] / height
        results['img'] = resized(image, size, self.interpolation)
        results['img_shape'] = results['img'].shape[:2]
        results['scale'] = size
        results['scale_factor'] = factor
        results['keep_ratio'] = False
        boxes = results.get('gt_bboxes')
        if isinstance(boxes, np.ndarray):
            edges = np.array(size * 2, boxes.dtype)
            factors = np.array(factor * 2, boxes.dtype)
            results['gt_bboxes'] = (boxes * factors).clip(0, edges)
        elif boxes is not None:
            boxes.rescale_(factor)
            boxes.clip_(results['img_shape'])
        if results.get('gt_masks') is not None:
            masks = results['gt_masks'].resize(results['img_shape'])
            results['gt_masks'] = masks
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = mmcv.imresize(
                results['gt_seg_map'], size, interpolation='nearest'
            )
        record_homography(results, np.diag([*factor, 1.0]))
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scale={self.scale}, '
            f'interpolation={self.interpolation!r})'
        )
