"""DeepLab's random scale: resize by one of a few factors."""

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmengine.registry import TRANSFORMS as HOST_TRANSFORMS

from mnv2_mm.datasets.transforms.base import Transform
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


@TRANSFORMS.register_module()
class RandomScaleStep(Transform):
    """Resize by one of the factors min_scale, min_scale + step, ..., max_scale.

    The DeepLab code's ``get_random_scale`` and ``randomly_scale_image_and_label``: it
    scales the image's own size (the hosts draw from a continuous range or a list of
    sizes), truncates the sides to whole pixels, and resizes images bilinearly and masks
    by nearest neighbor. What differs: OpenCV's pixel centers, not aligned corners.
    """

    def __init__(
        self, min_scale: float = 0.5, max_scale: float = 2.0, step: float = 0.25
    ) -> None:
        steps = (max_scale - min_scale) / step if step > 0 else -1
        if min_scale <= 0 or steps < 0 or abs(steps - round(steps)) > 1e-6:
            raise InputError(
                f'RandomScaleStep: step={step!r} must divide the way from '
                f'min_scale={min_scale!r}, above 0, to max_scale={max_scale!r}, as '
                '0.25 does from 0.5 to 2.0'
            )
        self.factors = np.linspace(min_scale, max_scale, round(steps) + 1)
        self.resize = HOST_TRANSFORMS.build(
            dict(type='Resize', scale=(1, 1), keep_ratio=False)
        )

    @cache_randomness
    def _random_factor(self) -> float:
        return float(np.random.choice(self.factors))

    def transform(self, results: dict) -> dict:
        """Resize ``img`` (H, W, C) and what belongs to it, as the host does."""
        factor = self._random_factor()
        height, width = results['img'].shape[:2]
        self.resize.scale = (max(1, int(width * factor)), max(1, int(height * factor)))
        return self.resize(results)
