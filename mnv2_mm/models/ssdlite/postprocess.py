"""Detections from logits and box codes, computed for the best candidates only.

Only a better (anchor, class) pair of the same class can suppress a pair. So NMS over
the best pairs alone is exact as soon as it leaves enough boxes. A sigmoid keeps the
order of its logits, so scores are computed for the candidates only.
"""

from collections.abc import Mapping

import torch
from mmcv.ops import batched_nms
from mmdet.models.task_modules.coders import BaseBBoxCoder
from mmdet.structures.bbox import get_box_wh, scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor


def best_detections(
    values: Tensor,
    codes: Tensor,
    priors: Tensor,
    *,
    coder: BaseBBoxCoder,
    cfg: Mapping,
    sigmoid: bool,
    img_meta: Mapping,
    rescale: bool,
) -> InstanceData | None:
    """Detections of one image: score threshold, decoding, NMS, top k.

    Args:
        values: (N, C) without the background: logits if ``sigmoid``, else
            probabilities.
        codes: Box codes (N, 4).
        priors: Anchors (N, 4) in pixels.
        coder: mmdet's box coder.
        cfg: ``test_cfg`` of the head.
        sigmoid: See ``values``.
        img_meta: ``img_shape`` and ``scale_factor`` of the image.
        rescale: Whether to return boxes in pixels of the original image.

    Returns:
        ``bboxes`` (n, 4), ``scores`` and ``labels`` (n,), best first; or None
        where the result may depend on mmdet's limit per level (``nms_pre``).
    """

    def suppress(values: Tensor, index: Tensor) -> InstanceData:
        """Decode and suppress the candidates as mmdet does."""
        anchor = torch.div(index, classes, rounding_mode='floor')
        boxes = coder.decode(
            priors[anchor], codes[anchor], max_shape=img_meta['img_shape']
        )
        if rescale:
            boxes = scale_boxes(boxes, [1 / side for side in img_meta['scale_factor']])
        found = InstanceData(
            bboxes=boxes,
            scores=values.sigmoid() if sigmoid else values,
            labels=index - anchor * classes,
        )
        smallest = cfg.get('min_bbox_size', -1)
        if smallest >= 0:
            width, height = get_box_wh(boxes)
            found = found[(width > smallest) & (height > smallest)]
        if len(found):
            _, kept = batched_nms(found.bboxes, found.scores, found.labels, cfg['nms'])
            found = found[kept]
        return found

    classes = values.shape[1]
    threshold = cfg.get('score_thr', 0)
    if sigmoid:
        threshold = float(
            torch.tensor(threshold, dtype=torch.double).clamp(0, 1).logit()
        )
    wanted, limit = cfg['max_per_img'], cfg.get('nms_pre', -1)
    limit = values.numel() if limit <= 0 else min(limit, values.numel())
    count = min(2 * wanted, limit)
    while True:
        best, index = pre_nms_topk(values, count)
        over = int((best > threshold).sum())
        found = suppress(best[:over], index[:over])
        exhausted = over < count or count == values.numel()
        if len(found) >= wanted or exhausted:
            return found[:wanted]
        if count == limit:
            return None
        count = min(4 * count, limit)


def pre_nms_topk(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest values (N, C), sorted, and their flat indices.

    The largest value of an anchor is a pair too. So at least ``count`` pairs
    reach the ``count``-th largest of these N, and only they are sorted.
    """
    flat = values.reshape(-1)
    if values.shape[1] == 1 or count >= len(values):
        return flat.topk(count)
    least = values.amax(dim=1).topk(count, sorted=False).values.min()
    index = (flat >= least).nonzero().squeeze(1)
    best, order = flat[index].topk(count)
    return best, index[order]
