"""Hard example mining of SSDLite, as TensorFlow's HardExampleMiner does it.

mmdet's SSDHead mines without the suppression of near duplicates and without
a minimum number of negatives.
"""

from collections.abc import Mapping

import torch
from mmcv.ops import nms
from torch import Tensor

from mnv2_mm.utils.arguments import check_arguments
from mnv2_mm.utils.errors import InputError

#: From this IoU on, the top left corners of boxes that suppress each other are
#: so near that sorting finds the pairs.
NEAR_IOU = 0.9
#: Type, smallest and largest value of the arguments of mine_hard_examples.
RANGES: dict[str, tuple[type, int, int]] = dict(
    negatives_per_positive=(float, 0, 10**6),
    min_negatives=(int, 0, 10**6),
    nms_iou=(float, 0, 1),
    max_examples=(int, 1, 10**6),
)


def check_mining(owner: str, mining: Mapping[str, float]) -> None:
    """Raise InputError for a name or value mine_hard_examples cannot take."""
    where = f'{owner}: train_cfg.mining'
    check_arguments(where, mining, RANGES)
    for name, value in mining.items():
        kind, low, high = RANGES[name]
        if not isinstance(value, (int, kind)) or not low <= value <= high:
            raise InputError(
                f'{where}.{name}={value!r} must be of type {kind.__name__}, '
                f'from {low} to {high}'
            )


def mine_hard_examples(
    losses: Tensor,
    boxes: Tensor,
    positive: Tensor,
    *,
    negatives_per_positive: float = 3,
    min_negatives: int = 3,
    nms_iou: float = 0.99,
    max_examples: int = 3000,
) -> Tensor:
    """Choose the anchors of one image that count in the loss.

    Rank the anchors by class loss, suppress near duplicates among the
    predicted boxes, then keep the positives and the hardest negatives. A
    suppressed positive does not count either. Returns a mask (N,).

    Args:
        losses: Class loss of each anchor (N,).
        boxes: Predicted boxes (N, 4) in pixels.
        positive: Which anchors are matched (N,).
        negatives_per_positive: Maximum number of negatives per positive.
        min_negatives: Minimum number of negatives per image, even without
            objects.
        nms_iou: Boxes that overlap a harder one by more are dropped.
        max_examples: Maximum number of boxes after the suppression.
    """
    losses, boxes = losses.detach().float(), boxes.detach().float()
    if nms_iou < NEAR_IOU or boxes.is_cuda:
        _, hardest = nms(boxes, losses, nms_iou, max_num=max_examples)
    else:
        order = losses.argsort(descending=True)
        hardest = order[near_nms(boxes[order], nms_iou)][:max_examples]
    is_positive = positive[hardest]
    limit = max(min_negatives, int(negatives_per_positive * int(is_positive.sum())))
    rank = (~is_positive).cumsum(0)  # 1 is the hardest negative
    mask = torch.zeros_like(positive)
    mask[hardest[is_positive | (rank <= limit)]] = True
    return mask


def near_nms(boxes: Tensor, iou: float) -> Tensor:
    """NMS at a high IoU, which compares only the few pairs that can reach it.

    Boxes (N, 4) are sorted by score, best first. Returns the mask (N,) of those
    kept.
    """
    pairs = near_pairs(boxes, iou)
    before, after = pairs.sort(dim=0).values  # ranks
    kept = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    kept[after] = False  # boxes that no better one overlaps are kept
    open_ = ~kept
    while len(after):
        dropped = torch.zeros_like(kept)
        dropped[after[kept[before]]] = True
        open_ &= ~dropped
        live = open_[after] & (open_[before] | kept[before])
        before, after = before[live], after[live]
        covered = torch.zeros_like(kept)
        covered[after] = True
        kept |= open_ & ~covered
        open_ &= covered
    return kept


def near_pairs(boxes: Tensor, iou: float) -> Tensor:
    """Pairs of boxes (2, P) that overlap by more than ``iou``.

    With an IoU over t the common width exceeds t times either width, so the
    left sides are less than (1 - t) / t of either width apart, and the top
    sides likewise. The IoU is computed by the same products as in mmcv's NMS.
    """
    left, order = boxes[:, 0].sort()
    boxes = boxes[order]
    sides = boxes[:, 2:] - boxes[:, :2]
    apart = sides * ((1 - iou) / iou) + 1e-3  # more than rounding
    ends = torch.searchsorted(left, left + apart[:, 0], right=True)
    here = torch.arange(len(boxes), device=boxes.device)
    counts = (ends - here - 1).clamp(min=0)
    first = here.repeat_interleave(counts)
    offset = (counts.cumsum(0) - counts).repeat_interleave(counts)
    second = first + 1 + torch.arange(len(first), device=first.device) - offset
    near = (boxes[first, 1] - boxes[second, 1]).abs() <= apart[first, 1]
    first, second = first[near], second[near]
    low = torch.maximum(boxes[first, :2], boxes[second, :2])
    high = torch.minimum(boxes[first, 2:], boxes[second, 2:])
    width, height = (high - low).clamp(min=0).unbind(1)
    areas = sides[:, 0] * sides[:, 1]
    common = width * height
    over = common / (areas[first] + areas[second] - common) > iou
    return order[torch.stack([first[over], second[over]])]
