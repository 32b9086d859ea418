"""Spare the NMS of a graph the pairs that cannot come out of it.

A threshold of 1e-8, which TensorFlow's detectors have, lets nearly every pair
of anchor and class into the NMS: 80 lists of a thousand boxes, of which a
hundred are wanted. Only a better pair of the same class can suppress one, so
where the best pairs leave enough boxes, the others change nothing. (In
PyTorch :mod:`mnv2_mm.models.ssdlite.postprocess` goes by the same.)
"""

from collections.abc import Mapping

from torch import Tensor

#: Pairs that NMS sees at least, as a multiple of the detections wanted.
_SHARE = 4


def pairs_before_nms(test_cfg: Mapping) -> int:
    """How many pairs of an image NMS should see at least; -1 for all.

    Not more than mmdet lets through for a level (``nms_pre``).
    """
    limit = int(test_cfg.get('nms_pre', -1))
    return min(limit, _SHARE * test_cfg['max_per_img']) if limit > 0 else -1


def least_of_best(scores: Tensor, count: int) -> Tensor:
    """A score that at least ``count`` pairs reach, by means of every backend.

    Sorting would give the highest such score, and ncnn has no layer for it.
    The anchors are dealt out to ``count`` groups, neighbors to different
    ones; each group has a pair with its largest score, and the least of these
    is the answer. Fewer anchors make fewer groups.

    Args:
        scores: (B, N, C); N is a number at export.
        count: Of :func:`pairs_before_nms`.

    Returns:
        (B, 1, 1).
    """
    anchors = int(scores.shape[1])
    groups = min(count, anchors)
    dealt = anchors // groups * groups
    best = scores.amax(dim=2)[:, :dealt].reshape(-1, dealt // groups, groups)
    return best.amax(dim=1).amin(dim=1, keepdim=True)[..., None]
