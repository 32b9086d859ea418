"""Check what necks and heads receive: channels of the maps, ground truth."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mnv2_mm.utils.errors import InputError


def check_channels(layer: Any, part: str, maps: Sequence[Tensor]) -> None:
    """Raise InputError unless the maps (B, C, ...) have ``layer.in_channels``.

    ``part`` is the place of the layer in a model, such as ``bbox_head``.
    """
    found: Any = tuple(x.shape[1] for x in maps)
    if isinstance(layer.in_channels, int) and len(found) == 1:
        (found,) = found
    if not torch.jit.is_tracing() and found != layer.in_channels:
        raise InputError(
            f'{type(layer).__name__}: the input has {found} channels but '
            f'in_channels={layer.in_channels}; set model.{part}.in_channels={found} '
            "(the number follows the backbone's widen_factor and out_indices)"
        )


def checked_gt_instances(
    gt_instances: InstanceData, img_meta: dict, *, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) as x1, y1, x2, y2 in pixels, and labels (n,).

    Raises:
        InputError: A class index is out of range, or a box is empty.
    """
    name = img_meta.get('img_path', 'an image')
    boxes, labels = gt_instances.bboxes, gt_instances.labels
    boxes = boxes.tensor if hasattr(boxes, 'tensor') else boxes
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(
            f'{name}: an object has class index {int(wrong[0])}, but '
            f'model.bbox_head.num_classes={num_classes}; set it to the '
            'number of classes of the data set'
        )
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        raise InputError(
            f'{name}: an object has no width or no height; remove it from the '
            'annotation file, or filter it in the pipeline (mmdet.FilterAnnotations)'
        )
    return boxes, labels
