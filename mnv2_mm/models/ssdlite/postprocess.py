"""From logits and box codes to detections, without looking at every pair.

mmdet scores, sorts and suppresses thousands of pairs of anchor and class, of
which the best few hundred remain. A pair can only be suppressed by a better
one of its class. So the best detections are found among the best pairs: if
these leave enough boxes after NMS, no worse pair can change the result.
Scores are monotonic in the logits of a sigmoid, and are computed for the
candidates alone.
"""

import math
from collections.abc import Mapping

import torch
from mmcv.ops import batched_nms
from mmdet.structures.bbox import get_box_wh, scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor

#: Candidates of the first try, as a multiple of the detections wanted.
_FIRST_SHARE = 2


def best_detections(
    values: Tensor,
    codes: Tensor,
    priors: Tensor,
    *,
    coder: object,
    cfg: Mapping,
    sigmoid: bool,
    img_meta: Mapping,
    rescale: bool,
) -> InstanceData | None:
    """Detections of one image: threshold, decoding, NMS, the best ones.

    Args:
        values: Logits of a sigmoid, or probabilities, (N, C) without the
            background.
        codes: Box codes (N, 4).
        priors: Anchors (N, 4) in pixels.
        coder: mmdet's box coder.
        cfg: ``test_cfg`` of the head.
        sigmoid: Whether ``values`` are logits.
        img_meta: ``img_shape`` and ``scale_factor`` of the image.
        rescale: Whether boxes are wanted in pixels of the original.

    Returns:
        ``bboxes`` (n, 4), ``scores`` and ``labels`` (n,), the best first; or
        None where the best pairs do not decide it, since mmdet's limit of
        pairs a level (``nms_pre``) would be exceeded.
    """
    threshold = cfg.get('score_thr', 0)
    if sigmoid:
        threshold = _logit(threshold)
    wanted, limit = cfg['max_per_img'], cfg.get('nms_pre', -1)
    limit = values.numel() if limit <= 0 else min(limit, values.numel())
    count = min(_FIRST_SHARE * wanted, limit)
    while True:
        best, index = best_pairs(values, count)
        over = int((best > threshold).sum())
        found = _suppressed(
            best[:over],
            index[:over],
            codes,
            priors,
            classes=values.shape[1],
            coder=coder,
            cfg=cfg,
            sigmoid=sigmoid,
            img_meta=img_meta,
            rescale=rescale,
        )
        exhausted = over < count or count == values.numel()
        if len(found) >= wanted or exhausted:
            return found[:wanted]
        if count == limit:
            return None
        count = min(4 * count, limit)


def best_pairs(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest values (N, C), sorted, and their flat indices.

    The largest value of an anchor is a pair too. So at least ``count`` pairs
    reach the ``count``-th largest of these N, and the others need no sorting.
    """
    flat = values.reshape(-1)
    if values.shape[1] == 1 or count >= len(values):
        return flat.topk(count)
    least = values.amax(dim=1).topk(count, sorted=False).values.min()
    index = (flat >= least).nonzero().squeeze(1)
    best, order = flat[index].topk(count)
    return best, index[order]


def _suppressed(
    values: Tensor,
    index: Tensor,
    codes: Tensor,
    priors: Tensor,
    *,
    classes: int,
    coder: object,
    cfg: Mapping,
    sigmoid: bool,
    img_meta: Mapping,
    rescale: bool,
) -> InstanceData:
    """Decode and suppress the candidates, as mmdet does it."""
    anchor = torch.div(index, classes, rounding_mode='floor')
    boxes = coder.decode(priors[anchor], codes[anchor], max_shape=img_meta['img_shape'])
    if rescale:
        factor = [1 / side for side in img_meta['scale_factor']]
        boxes = scale_boxes(boxes, factor)
    found = InstanceData(
        bboxes=boxes,
        scores=values.sigmoid() if sigmoid else values,
        labels=index - anchor * classes,
    )
    smallest = cfg.get('min_bbox_size', -1)
    if smallest >= 0:
        width, height = get_box_wh(boxes)
        valid = (width > smallest) & (height > smallest)
        if not valid.all():
            found = found[valid]
    if len(found):
        _, kept = batched_nms(found.bboxes, found.scores, found.labels, cfg['nms'])
        found = found[kept]
    return found


def _logit(probability: float) -> float:
    """Where a sigmoid has this value."""
    if probability <= 0:
        return -math.inf
    if probability >= 1:
        return math.inf
    return math.log(probability) - math.log1p(-probability)
