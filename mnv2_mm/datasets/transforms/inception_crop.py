"""The crops of slim's Inception preprocessing, for ImageNet.

MobileNet's official classifiers are trained and evaluated with
``--preprocessing_name=inception_v2``. In training it crops a random window
and squeezes it to a square; that window is not drawn as torchvision's and
mmpretrain's ``RandomResizedCrop`` draw it (see
:mod:`mnv2_mm.datasets.transforms.distorted_box`). In evaluation it cuts off a frame and
squeezes the rest, so an image keeps all of its longer side but that frame,
at the price of its aspect; the hosts' center crops are squares.

What differs from the source: bilinear resizing is OpenCV's, whose pixel
centers lie half a pixel off those of TensorFlow 1.
"""

from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mnv2_mm.datasets.transforms.deferred import resized
from mnv2_mm.datasets.transforms.distorted_box import (
    Window,
    checked_range,
    sample_distorted_box,
)
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


@TRANSFORMS.register_module()
class DistortedCrop(BaseTransform):
    """Crop a random window and resize it (bilinear), aspect not kept.

    slim's ``distorted_bounding_box_crop`` without boxes, as for MobileNet:
    the object to be covered is then the whole image, so that
    ``min_object_covered`` is a second lower bound of the area, and at its
    official 0.1 the one that counts.

    Args:
        scale: What the window is resized to: the side of a square, or
            (width, height), in pixels.
        area_range: Area of the window over the image's.
        aspect_ratio_range: Width over height of the window.
        min_object_covered: Share of the image that the window covers at
            least, 0 to 1.

    Raises:
        InputError: an argument is out of its range.
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
        if not 0 <= min_object_covered <= 1:
            raise InputError(
                f'DistortedCrop: min_object_covered={min_object_covered!r} '
                'must be between 0 and 1'
            )
        self.min_object_covered = min_object_covered

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
        """Crop and resize ``img`` (H, W, C); ``img_shape`` follows.

        A deferred image of ``mnv2_mm.LoadImage`` is decoded here.
        """
        image = results['img']
        window = self._random_window(*image.shape[:2])
        # at each call: configs of other input sizes set the attribute
        size = self.scale
        size = (size, size) if isinstance(size, int) else tuple(size)
        results['img'] = resized(window.cut(image), size)
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scale={self.scale}, '
            f'area_range={self.area_range}, '
            f'aspect_ratio_range={self.aspect_ratio_range}, '
            f'min_object_covered={self.min_object_covered})'
        )


@TRANSFORMS.register_module()
class CentralCrop(BaseTransform):
    """Keep the middle of both sides: ``tf.image.central_crop``.

    Args:
        fraction: Share of each side to keep, above 0 and up to 1. The
            official evaluation has 0.875, before a ``Resize`` to the input
            size with ``keep_ratio=False``.

    Raises:
        InputError: the fraction is out of its range.
    """

    def __init__(self, fraction: float = 0.875) -> None:
        if not 0 < fraction <= 1:
            raise InputError(
                f'CentralCrop: fraction={fraction!r} must be above 0 and at '
                'most 1; the official evaluation has 0.875'
            )
        self.fraction = fraction

    def transform(self, results: dict) -> dict:
        """Crop ``img`` (H, W, C); ``img_shape`` follows.

        The frame is rounded down: its opposite parts are equally wide.
        """
        height, width = results['img'].shape[:2]
        top, left = (int((side - side * self.fraction) / 2) for side in (height, width))
        window = Window(left, top, width - left, height - top)
        results['img'] = window.cut(results['img'])
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(fraction={self.fraction})'
