"""Decode boxes in operators that an exported graph can hold.

mmdet's coder has another function for graphs, which imports what mmdet no longer has.
"""

import math
from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders import BaseBBoxCoder
from torch import Tensor

from mnv2_mm.models.ssdlite.head import SSDLiteHead
from mnv2_mm.utils.errors import InputError


def decoded(
    head: SSDLiteHead,
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    *,
    size: tuple[int, int],
    min_size: float = -1,
) -> tuple[Tensor, Tensor]:
    """Maps of an SSDLiteHead -> boxes (B, N, 4) in pixels, and scores (B, N, C).

    Args:
        head: The head.
        cls_scores: Class logits of each level.
        bbox_preds: Box codes of each level.
        size: Width and height to which boxes are clipped.
        min_size: A box with a side that is not larger has the scores 0; -1 for none.
    """
    codes = head.flatten(bbox_preds, head.bbox_coder.encode_size)
    logits = head.flatten(cls_scores, head.cls_out_channels)
    boxes = decode(head.bbox_coder, head.priors(cls_scores), codes, size)
    scores = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(dim=-1)
    scores = scores[..., : head.num_classes]  # without the background
    if min_size >= 0:
        sides = boxes[..., 2:] - boxes[..., :2]
        scores = scores * (sides.amin(-1, keepdim=True) > min_size).to(scores.dtype)
    return boxes, scores


def decode(
    coder: BaseBBoxCoder, priors: Tensor, codes: Tensor, size: tuple[int, int]
) -> Tensor:
    """Decode boxes and clip them, step by step as mmdet's delta2bbox.

    Args:
        coder: mmdet's DeltaXYWHBBoxCoder.
        priors: Default boxes (N, 4).
        codes: (B, N, 4).
        size: Width and height to which boxes are clipped.

    Returns:
        (B, N, 4) as x1, y1, x2, y2 in pixels.
    """
    if type(coder).__name__ != 'DeltaXYWHBBoxCoder':
        raise InputError(
            f'model.bbox_head.bbox_coder is a {type(coder).__name__}; only '
            'the DeltaXYWHBBoxCoder is exported'
        )
    means, stds = codes.new_tensor(coder.means), codes.new_tensor(coder.stds)
    deltas = codes * stds + means if any(coder.means) else codes * stds
    centers = (priors[:, :2] + priors[:, 2:]) * 0.5
    sides = priors[:, 2:] - priors[:, :2]
    limit = abs(math.log(16 / 1000))  # mmdet's wh_ratio_clip
    shift = sides * deltas[..., :2]
    growth = deltas[..., 2:]
    if coder.add_ctr_clamp:
        shift = shift.clamp(-coder.ctr_clamp, coder.ctr_clamp)
        growth = growth.clamp(max=limit)
    else:
        growth = growth.clamp(-limit, limit)
    centers = centers + shift
    half = sides * growth.exp() * 0.5
    boxes = torch.cat([centers - half, centers + half], dim=-1)
    if not coder.clip_border:
        return boxes
    return torch.minimum(boxes.clamp(min=0), codes.new_tensor([*size, *size]))
