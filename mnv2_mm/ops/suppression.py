"""NMS and soft-NMS with the results of mmcv's compiled ops, ties included.

torchvision's NMS has no offset, breaks ties by a stable sort and needs a compiled
library that fits torch; there is no soft-NMS in it.
"""

import numpy as np
import torch
from torch import Tensor

#: Boxes that are compared with all others at a time.
BLOCK = 128


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Non-maximum suppression: indices of the boxes kept, best first.

    Args:
        boxes: x1, y1, x2, y2 (N, 4) in pixels, float32.
        scores: (N,).
        iou_threshold: Boxes that overlap a better one by more are dropped.
        offset: 1 where x2 and y2 are the last pixels of a box, else 0.
    """
    # as mmcv: not stable, so that ties come in the same order
    order = scores.sort(dim=0, descending=True).indices
    boxes = boxes[order]
    rest = torch.arange(len(boxes), device=boxes.device)
    kept = []
    while len(rest):
        block = boxes[rest[:BLOCK]]
        # torch rounds the threshold to the type of the boxes, as the compiled op does
        over = (_ious(block, block, offset) > iou_threshold).triu(1).to(boxes.dtype)
        keep = over.new_ones(len(block))
        # right up to the first k boxes after k rounds; few rounds are needed
        while True:
            last, keep = keep, (keep @ over == 0).to(over.dtype)
            if torch.equal(last, keep):
                break
        best, rest = rest[:BLOCK][keep > 0], rest[BLOCK:]
        kept.append(best)
        if len(rest):
            over = _ious(boxes[best], boxes[rest], offset) > iou_threshold
            rest = rest[~over.any(dim=0)]
    return order[torch.cat(kept)] if kept else order


def _ious(first: Tensor, second: Tensor, offset: int) -> Tensor:
    """IoU of each pair (M, N), by the operations of mmcv in their order."""
    left, top, right, bottom = first.t()[:, :, None]
    areas = (right - left + offset) * (bottom - top + offset)
    x1, y1, x2, y2 = second.t()
    common = torch.minimum(right, x2).sub_(torch.maximum(left, x1))
    height = torch.minimum(bottom, y2).sub_(torch.maximum(top, y1))
    if offset:
        common, height = common.add_(offset), height.add_(offset)
    common.clamp_(min=0).mul_(height.clamp_(min=0))
    both = torch.add(areas, (x2 - x1 + offset) * (y2 - y1 + offset), out=height)
    return common.div_(both.sub_(common))


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS: indices of the boxes left, in the order of their final scores.

    Args:
        boxes: x1, y1, x2, y2 (N, 4) on the CPU, float32.
        scores: (N,).
        dets: (N, 5), filled with the boxes and final scores of those left.
        iou_threshold: IoU from which the linear and naive methods act.
        sigma: Width of the gaussian method.
        min_score: Boxes whose score falls below are dropped.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: As in :func:`nms`.
    """
    limit, sigma, min_score = np.float32([iou_threshold, sigma, min_score])
    x1, y1, x2, y2 = boxes.detach().numpy().T
    areas = (x2 - x1 + np.float32(offset)) * (y2 - y1 + np.float32(offset))
    score = scores.detach().numpy()
    index = np.arange(len(score))
    table = np.stack((x1, y1, x2, y2, score, areas))
    done = 0
    while done < len(index):
        # mmcv swaps the best, the first of equals, with the first open one; no score
        # compares as better than that of an empty box, NaN
        open_ = table[4, done:]
        best = done if np.isnan(open_[0]) else done + np.nanargmax(open_)
        table[:, [done, best]] = table[:, [best, done]]
        index[[done, best]] = index[[best, done]]
        x1, y1, x2, y2, _, area = table[:, done]
        done += 1
        rest = table[:, done:]
        width = np.minimum(x2, rest[2]) - np.maximum(x1, rest[0]) + np.float32(offset)
        height = np.minimum(y2, rest[3]) - np.maximum(y1, rest[1]) + np.float32(offset)
        common = width.clip(0) * height.clip(0)
        with np.errstate(invalid='ignore'):  # that of two empty boxes is NaN
            iou = common / (area + rest[5] - common)
        if method == 2:
            # the C library computes exp of a float in double
            rest[4] *= np.exp(-(iou * iou) / sigma, dtype=float).astype(np.float32)
        elif method in (0, 1):
            rest[4] *= np.where(iou >= limit, method * (1 - iou), np.float32(1))
        # and fills the place of a dropped box with the last one
        left = ~(rest[4] < min_score)
        count = left.sum()
        holes = np.flatnonzero(~left[:count])
        movers = count + np.flatnonzero(left[count:])[::-1]
        rest[:, holes] = rest[:, movers]
        index[done + holes] = index[done + movers]
        table, index = table[:, : done + count], index[: done + count]
    dets[: len(index)] = torch.from_numpy(np.ascontiguousarray(table[:5].T))
    return torch.from_numpy(index)
