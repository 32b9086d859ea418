"""Hard mining of SSDLite's anchors, as TensorFlow's HardExampleMiner.

mmdet's SSDHead mines without the suppression of near duplicates and without
a least number of negatives.
"""

import torch
from mmcv.ops import nms
from torch import Tensor

#: From this IoU on, boxes that suppress each other begin so close together
#: that sorting finds the pairs.
NEAR_IOU = 0.9


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
    """Choose the anchors of one image that take part in the loss.

    Rank by class loss, suppress near duplicates among the predicted boxes,
    then keep the positives and the hardest negatives. A suppressed positive
    takes no part either.

    Args:
        losses: Class loss of each anchor (N,).
        boxes: Predicted boxes (N, 4) in pixels.
        positive: Which anchors are matched (N,).
        negatives_per_positive: At most so many negatives a positive.
        min_negatives: But so many in any image, also in an empty one.
        nms_iou: Boxes that overlap a harder one by more are dropped.
        max_examples: At most so many boxes survive the suppression.

    Returns:
        Mask (N,).
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
    """NMS at a high threshold, in a fraction of the time of a general one.

    A general one compares all with all. Here only the few pairs are compared
    that can overlap by so much.

    Args:
        boxes: (N, 4) in pixels, the box of the highest score first.
        iou: A box that overlaps a kept one before it by more is dropped.

    Returns:
        Mask (N,) of the kept ones.
    """
    pairs = near_pairs(boxes, iou)
    before, after = pairs.sort(dim=0).values  # ranks
    kept = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    kept[after] = False  # those that nothing covers are kept for sure
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

    With IoU over t the common width exceeds t times either width, so the
    left sides lie less than (1 - t) / t of either width apart, and the top
    sides likewise. The IoU is formed by the products that mmcv's NMS forms.
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
