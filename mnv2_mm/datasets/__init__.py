"""Data: transforms of the recipes, careful loading, checks before a run."""

from mnv2_mm.datasets.transforms.contiguous import Contiguous
from mnv2_mm.datasets.transforms.expand import Expand
from mnv2_mm.datasets.transforms.inception_color import BrightnessSaturation
from mnv2_mm.datasets.transforms.inception_crop import (
    CentralCrop,
    DistortedCrop,
)
from mnv2_mm.datasets.transforms.loading import CheckSegMask, LoadImage
from mnv2_mm.datasets.transforms.min_iou_crop import MinIoURandomCrop
from mnv2_mm.datasets.transforms.photometric import PhotoMetricDistortion
from mnv2_mm.datasets.transforms.random_scale import RandomScaleStep
from mnv2_mm.datasets.transforms.resize import Resize
from mnv2_mm.datasets.transforms.seg_photometric import (
    SegPhotoMetricDistortion,
)
from mnv2_mm.datasets.transforms.seg_random_crop import SegRandomCrop
from mnv2_mm.datasets.transforms.ssd_random_crop import SSDRandomCrop

__all__ = [
    'BrightnessSaturation',
    'CentralCrop',
    'CheckSegMask',
    'Contiguous',
    'DistortedCrop',
    'Expand',
    'LoadImage',
    'MinIoURandomCrop',
    'PhotoMetricDistortion',
    'RandomScaleStep',
    'Resize',
    'SSDRandomCrop',
    'SegPhotoMetricDistortion',
    'SegRandomCrop',
]
