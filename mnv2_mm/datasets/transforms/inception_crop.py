"""The crops of slim's Inception preprocessing, for ImageNet.

MobileNet's official classifiers are trained and evaluated with
``--preprocessing_name=inception_v2``. In training it crops a random window and resizes
it to a square; torchvision's and mmpretrain's ``RandomResizedCrop`` draw the window
differently (see distorted_box.py). In evaluation it cuts off a border and resizes the
rest to a square, so the aspect ratio is lost; the hosts' center crops are squares.

What differs from the source: bilinear resizing is OpenCV's, whose pixel
centers differ by half a pixel from those of TensorFlow 1.
"""

import mmcv
from mmcv.transforms.utils import cache_randomness

from mnv2_mm.datasets.transforms.base import Transform, checked_range, checked_share
from mnv2_mm.datasets.transforms.distorted_box import sample_distorted_box
from mnv2_mm.datasets.transforms.geometry import Window
from mnv2_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class DistortedCrop(Transform):
    """Crop a random window and resize it (bilinear), aspect not kept.

    slim's ``distorted_bounding_box_crop`` without boxes, as for MobileNet: the object
    to be covered is then the whole image, so that ``min_object_covered`` is a second
    lower bound of the area, and at its official 0.1 the one that counts.

    Args:
        scale: What the window is resized to: the side of a square, or
            (width, height), in pixels.
        area_range: Area of the window over the image's.
        aspect_ratio_range: Width over height of the window.
        min_object_covered: Least share of the image that the window covers.
    """

    def __init__(
        self,
        scale: int | tuple[int, int],
        *,
        area_range: tuple[float, float] = (0.05, 1.0),
        aspect_ratio_range: tuple[float, float] = (0.75, 1.33),
        min_object_covered: float = 0.1,
    ) -> None:
        self.scale = scale
        self.area_range = checked_range('area_range', area_range, 1.0)
        self.aspect_ratio_range = checked_range(
            'aspect_ratio_range', aspect_ratio_range
        )
        self.min_object_covered = checked_share(
            'DistortedCrop: min_object_covered', min_object_covered
        )

    @cache_randomness
    def _random_window(self, height: int, width: int) -> Window:
        return sample_distorted_box(
            height,
            width,
            min_object_covered=self.min_object_covered,
            aspect_ratio_range=self.aspect_ratio_range,
            area_range=self.area_range,
        )

    def transform(self, results: dict) -> dict:
        """Crop and resize ``img`` (H, W, C); ``img_shape`` follows."""
        self._random_window(*results['img'].shape[:2]).cut(results, 'img')
        size = self.scale
        size = (size, size) if isinstance(size, int) else tuple(size)
        results['img'] = mmcv.imresize(results['img'], size)
        results['img_shape'] = size[::-1]
        return results


@TRANSFORMS.register_module()
class CentralCrop(Transform):
    """Keep the middle of both sides: ``tf.image.central_crop``.

    Args:
        fraction: Share of each side to keep, above 0. The official evaluation
            has 0.875, before a ``Resize`` with ``keep_ratio=False``.
    """

    def __init__(self, fraction: float = 0.875) -> None:
        self.fraction = checked_share(
            'CentralCrop: fraction', fraction, above_zero=True
        )

    def transform(self, results: dict) -> dict:
        """Crop ``img`` (H, W, C); ``img_shape`` follows.

        The border is rounded down, and opposite sides are equally wide.
        """
        height, width = results['img'].shape[:2]
        top, left = (int((side - side * self.fraction) / 2) for side in (height, width))
        return Window(left, top, width - left, height - top).cut(results, 'img')
