"""Data: transforms of the recipes, careful loading, checks before a run."""

from mnv2_mm.datasets.contiguous import Contiguous
from mnv2_mm.datasets.expand import Expand
from mnv2_mm.datasets.inception_color import BrightnessSaturation
from mnv2_mm.datasets.inception_crop import CentralCrop, DistortedCrop
from mnv2_mm.datasets.min_iou_crop import MinIoURandomCrop
from mnv2_mm.datasets.photometric import PhotoMetricDistortion
from mnv2_mm.datasets.random_scale import RandomScaleStep
from mnv2_mm.datasets.resize import Resize
from mnv2_mm.datasets.seg_photometric import SegPhotoMetricDistortion
from mnv2_mm.datasets.seg_random_crop import SegRandomCrop
from mnv2_mm.datasets.ssd_random_crop import SSDRandomCrop
from mnv2_mm.datasets.transforms import CheckSegMask, LoadImage

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
