"""SSDLite's default boxes (anchors), as TF's ``ssd_anchor_generator`` makes them.

Differs from mmdet's SSDAnchorGenerator: three boxes on the lowest level (mmdet
adds a fourth), any ``input_size`` (mmdet: 300 and 512), and cell centers at
(i + 0.5) / map size, so the stride of an odd map is a fraction (320/3 on level 3).
"""

import math
from collections.abc import Sequence

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor

from mnv2_mm.registry import TASK_UTILS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError

#: Box sizes relative to the input, level 0 to 5, then TF's sentinel.
SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
#: (scale, aspect ratio w/h) of the reduced lowest level.
LOWEST_LEVEL = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))
#: Aspect ratios of the other levels.
ASPECT_RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)


@TASK_UTILS.register_module()
@checked_arguments
class SSDLiteAnchorGenerator(AnchorGenerator):
    """Default boxes of SSDLite for a fixed input size.

    Order in a cell, as in TF: level 0 has ``LOWEST_LEVEL``; the others have
    ``ASPECT_RATIOS`` and a square whose scale is the geometric mean of this
    level's and the next. Boxes are not clipped. On a non-square input a box keeps
    its aspect ratio in pixels and its size is relative to the shorter side (TF's
    ``base_anchor_size`` rule).

    Args:
        input_size: Network input in pixels, ``320`` or ``(width, height)``.
        first_stride: Input size over map size of the lowest level.
        scales: One scale per level and a sentinel, relative to the input.
        reduce_lowest: Three boxes on the lowest level instead of six.
    """

    def __init__(
        self,
        input_size: int | Sequence[int] = 320,
        first_stride: int = 16,
        *,
        scales: Sequence[float] = SCALES,
        reduce_lowest: bool = True,
    ) -> None:
        sides = (input_size,) * 2 if isinstance(input_size, int) else tuple(input_size)
        if len(sides) != 2 or any(not isinstance(s, int) or s < 32 for s in sides):
            raise InputError(
                f'input_size={input_size!r} cannot be used; give one number '
                'or (width, height) in pixels, each at least 32'
            )
        self.input_size = width, height = sides
        if len(scales) < 3 or list(scales) != sorted(scales):
            raise InputError(
                f'scales={tuple(scales)} must rise from level to level and '
                f'end with a sentinel, for example {SCALES}'
            )
        self.scales = tuple(scales)
        self.reduce_lowest = reduce_lowest
        #: (rows, columns) of each level; every stride-2 layer rounds up.
        self.featmap_sizes = [
            (math.ceil(height / stride), math.ceil(width / stride))
            for stride in (first_stride * 2**i for i in range(len(scales) - 1))
        ]
        self.strides = [(width / c, height / r) for r, c in self.featmap_sizes]
        self.centers = [(w / 2, h / 2) for w, h in self.strides]
        self.center_offset = 0.0
        self.use_box_type = False
        self.base_anchors = self.gen_base_anchors()

    def shapes(self, level: int) -> list[tuple[float, float]]:
        """Scale and aspect ratio (w/h) of the boxes of a level."""
        if level == 0 and self.reduce_lowest:
            return list(LOWEST_LEVEL)
        scale, following = self.scales[level : level + 2]
        boxes = [(scale, ratio) for ratio in ASPECT_RATIOS]
        return [*boxes, (math.sqrt(scale * following), 1.0)]

    def gen_base_anchors(self) -> list[Tensor]:
        """Boxes of the first cell of each level, (A, 4) as x1, y1, x2, y2."""
        side = min(self.input_size)
        base_anchors = []
        for level, (cx, cy) in enumerate(self.centers):
            boxes = []
            for scale, ratio in self.shapes(level):
                w = scale * math.sqrt(ratio) * side / 2
                h = scale / math.sqrt(ratio) * side / 2
                boxes.append((cx - w, cy - h, cx + w, cy + h))
            base_anchors.append(torch.tensor(boxes))
        return base_anchors

    def check(self, input_shape: tuple[int, int]) -> None:
        """Raise InputError for another (height, width) than the boxes are made for."""
        if tuple(input_shape) != self.input_size[::-1]:
            width, height = self.input_size
            raise InputError(
                f'the network got images of {input_shape[1]}x{input_shape[0]} '
                f'(width x height), its anchors are for {width}x{height}; '
                'set model.bbox_head.anchor_generator.input_size and the Resize '
                'scale of the pipelines to the same size'
            )

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(input_size={self.input_size}, '
            f'featmap_sizes={self.featmap_sizes}, '
            f'num_base_priors={self.num_base_priors})'
        )
