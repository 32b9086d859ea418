"""SSD's random crop in TensorFlow's version.

The Object Detection API's ``ssd_random_crop``. Together with the horizontal flip it is
all the augmentation of the official SSDLite. mmdet's ``MinIoURandomCrop`` reads the SSD
paper differently: all objects need an IoU with the window, and those with their center
inside are kept. Here one object has to be covered to a share, and an object is kept by
the share of its own area inside the window (intersection over area, IOA). Crops without
an object are kept, as in the source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from mmcv.transforms.utils import cache_randomness

from mnv2_mm.datasets.transforms.base import Transform, checked_range, checked_share
from mnv2_mm.datasets.transforms.distorted_box import sample_distorted_box
from mnv2_mm.datasets.transforms.geometry import Window, corners_of, crop
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


@dataclass(frozen=True)
class CropSetting:
    """One crop setting, with the fields of TF's ``SSDRandomCropOperation``.

    Args:
        min_object_covered: Share of the area of at least one object that has
            to lie in the window.
        overlap_thresh: Share of an object's area (IOA) that has to lie in
            the window for the object to be kept. At 0 it must touch it.
        aspect_ratio_range: Width over height of the window.
        area_range: Area of the window over the image's.
        random_coef: Probability that the image stays as it is.
    """

    min_object_covered: float
    overlap_thresh: float
    aspect_ratio_range: tuple[float, float] = (0.5, 2.0)
    area_range: tuple[float, float] = (0.1, 1.0)
    random_coef: float = 0.15

    def __post_init__(self) -> None:
        for name in ('min_object_covered', 'overlap_thresh', 'random_coef'):
            checked_share(f'SSDRandomCrop: {name}', getattr(self, name))
        checked_range('aspect_ratio_range', self.aspect_ratio_range)
        checked_range('area_range', self.area_range, 1.0)


#: The official seven.
SETTINGS = tuple(
    CropSetting(min_object_covered=share, overlap_thresh=share)
    for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
)


@TRANSFORMS.register_module()
class SSDRandomCrop(Transform):
    """Crop an image at random; keep and clip the objects inside.

    Args:
        settings: Settings of which one is drawn for every image, each a dict of
            :class:`CropSetting`'s fields; the official seven by default.
    """

    def __init__(self, settings: Sequence[Mapping] | None = None) -> None:
        self.settings = SETTINGS
        if settings is None:
            return
        if not settings:
            raise InputError(
                'SSDRandomCrop: settings is empty; leave it out for the '
                'official seven, or give at least one'
            )
        try:
            self.settings = tuple(CropSetting(**setting) for setting in settings)
        except TypeError as error:
            names = ', '.join(field.name for field in fields(CropSetting))
            raise InputError(
                f'SSDRandomCrop: settings={settings!r} must be dicts of these '
                f'fields, of which the first two are required: {names}'
            ) from error

    @cache_randomness
    def _random_setting(self) -> CropSetting | None:
        """One of the settings, or None to keep the image."""
        setting = self.settings[np.random.randint(len(self.settings))]
        keep = np.random.uniform() <= setting.random_coef
        return None if keep else setting

    @cache_randomness
    def _random_window(
        self, size: tuple[int, int], corners: np.ndarray, setting: CropSetting
    ) -> Window:
        """A window of an image of ``size`` (height, width)."""
        limits = asdict(setting)
        del limits['overlap_thresh'], limits['random_coef']
        return sample_distorted_box(*size, corners, **limits)

    def transform(self, results: dict) -> dict:
        """Crop ``img`` and everything that belongs to it (:func:`.geometry.crop`)."""
        setting = self._random_setting()
        if setting is None:
            return results
        corners = corners_of(results.get('gt_bboxes'), 'SSDRandomCrop')
        window = self._random_window(results['img'].shape[:2], corners, setting)
        kept = inside(corners, window, setting.overlap_thresh)
        return crop(results, window, kept)


def inside(corners: np.ndarray, window: Window, overlap_thresh: float) -> np.ndarray:
    """Return which boxes (n, 4) a window keeps, a mask (n,).

    Those that touch it and have ``overlap_thresh`` of their own area in it.
    """
    corner = np.maximum(corners[:, :2], window[:2])
    extent = np.minimum(corners[:, 2:], window[2:]) - corner
    common = extent.clip(min=0).prod(axis=1)
    area = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return (extent > 0).all(axis=1) & (common >= overlap_thresh * area)
