"""Data: transforms of the recipes, loading, and checks before a run.

A config names a transform as ``type='mnv2_mm.Expand'``; the registry imports
this package to find it. Which transform replaces which:

* mmdet's, same results from the same random numbers: ``Expand``,
  ``MinIoURandomCrop``, ``PhotoMetricDistortion``;
* mmseg's, likewise: ``SegPhotoMetricDistortion``, ``SegRandomCrop``;
* TensorFlow's: ``BrightnessSaturation``, ``CentralCrop``, ``DistortedCrop``,
  ``RandomScaleStep``, ``SSDRandomCrop``, ``TensorFlowResize``;
* for any pipeline: ``CheckSegMask``, ``Contiguous``, ``LoadImage``.
"""

from mnv2_mm.datasets.transforms.contiguous import Contiguous
from mnv2_mm.datasets.transforms.expand import Expand
from mnv2_mm.datasets.transforms.inception_crop import CentralCrop, DistortedCrop
from mnv2_mm.datasets.transforms.loading import CheckSegMask, LoadImage
from mnv2_mm.datasets.transforms.min_iou_crop import MinIoURandomCrop
from mnv2_mm.datasets.transforms.photometric import (
    BrightnessSaturation,
    PhotoMetricDistortion,
    SegPhotoMetricDistortion,
)
from mnv2_mm.datasets.transforms.random_scale import RandomScaleStep
from mnv2_mm.datasets.transforms.seg_random_crop import SegRandomCrop
from mnv2_mm.datasets.transforms.ssd_random_crop import SSDRandomCrop
from mnv2_mm.datasets.transforms.tensorflow_resize import TensorFlowResize

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
    'SSDRandomCrop',
    'SegPhotoMetricDistortion',
    'SegRandomCrop',
    'TensorFlowResize',
]
