"""Resize to a fixed size, and by a random factor as DeepLab trains."""

import mmcv
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmengine.registry import TRANSFORMS as HOST_TRANSFORMS

from mnv2_mm.datasets.transforms.base import Transform
from mnv2_mm.datasets.transforms.geometry import clip_boxes, record_homography
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


@TRANSFORMS.register_module()
class Resize(Transform):
    """mmdet's ``Resize`` to a fixed size, aspect ratio not kept.

    It gives mmdet's result. What differs: boxes may be arrays, and a wrong
    argument is reported. @MEASURED resize@

    Args:
        scale: (width, height) in pixels, or the side of a square.
        keep_ratio: Must be False.
        interpolation: As in mmcv.

    Raises:
        InputError: An argument is out of its range.
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
            results: mmdet's: ``img`` (H, W, C) and, where present,
                ``gt_bboxes``, ``gt_masks`` and ``gt_seg_map``.

        Returns:
            The results; ``img_shape``, ``scale``, ``scale_factor``,
            ``keep_ratio`` and ``homography_matrix`` follow.
        """
        size = self.scale
        height, width = results['img'].shape[:2]
        factor = size[0] / width, size[1] / height
        shape = size[::-1]
        results.update(
            img=mmcv.imresize(results['img'], size, interpolation=self.interpolation),
            img_shape=shape,
            scale=size,
            scale_factor=factor,
            keep_ratio=False,
        )
        boxes = results.get('gt_bboxes')
        if boxes is not None:
            if isinstance(boxes, np.ndarray):
                boxes = boxes * np.array(factor * 2, boxes.dtype)
            else:
                boxes.rescale_(factor)
            results['gt_bboxes'] = clip_boxes(boxes, *shape)
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].resize(shape)
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = mmcv.imresize(
                results['gt_seg_map'], size, interpolation='nearest'
            )
        record_homography(results, np.diag([*factor, 1.0]))
        return results


@TRANSFORMS.register_module()
class RandomScaleStep(Transform):
    """Resize by a random factor out of an evenly spaced list.

    The DeepLab code's ``get_random_scale`` and
    ``randomly_scale_image_and_label``: it draws one of the factors 0.5, 0.75,
    ... 2.0 of the image's own size (the hosts draw from a continuous range or
    a list of sizes), truncates the sides to whole pixels, and resizes images
    bilinearly and masks by nearest neighbor. What differs: OpenCV's pixel
    centers instead of aligned corners.

    Args:
        min_scale: The smallest factor.
        max_scale: The largest factor.
        step: Difference of two factors.
        resize_type: The host's transform that resizes to a ``scale``; it
            decides what is resized along with the image.

    Raises:
        InputError: The factors are no such list.
    """

    def __init__(
        self,
        min_scale: float = 0.5,
        max_scale: float = 2.0,
        step: float = 0.25,
        *,
        resize_type: str = 'Resize',
    ) -> None:
        steps = (max_scale - min_scale) / step if step > 0 else -1
        if min_scale <= 0 or steps < 0 or abs(steps - round(steps)) > 1e-6:
            raise InputError(
                f'RandomScaleStep: min_scale={min_scale!r}, '
                f'max_scale={max_scale!r}, step={step!r} are no list of '
                'factors; the step must divide the way from the smallest, '
                'above 0, to the largest, as 0.25 does from 0.5 to 2.0'
            )
        self.factors = np.linspace(min_scale, max_scale, round(steps) + 1)
        # not from our registry, which has a Resize too
        self.resize = HOST_TRANSFORMS.build(
            dict(type=resize_type, scale=(1, 1), keep_ratio=False)
        )

    @cache_randomness
    def _random_factor(self) -> float:
        return float(np.random.choice(self.factors))

    def transform(self, results: dict) -> dict:
        """Resize ``img`` (H, W, C) and what belongs to it.

        Returns:
            What the host's Resize returns: ``scale``, ``scale_factor`` and
            ``img_shape`` follow.
        """
        factor = self._random_factor()
        height, width = results['img'].shape[:2]
        self.resize.scale = (
            max(1, int(width * factor)),
            max(1, int(height * factor)),
        )
        return self.resize(results)
