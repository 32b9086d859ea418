"""Reduce the (anchor, class) pairs that enter the NMS of an exported graph.

TensorFlow's detectors have a score threshold of 1e-8, which lets nearly every
pair into the NMS. It receives the 4 x max_per_img best ones here, and the result
differs only if it removes more than 75 % of them.
(:mod:`mnv2_mm.models.ssdlite.postprocess` does the same in PyTorch.)
"""

from collections.abc import Mapping

from torch import Tensor

#: Pairs that enter the NMS at least, as a multiple of the detections wanted.
_FACTOR = 4


def pairs_before_nms(test_cfg: Mapping) -> int:
    """Number of pairs per image that enter the NMS at least; -1 for all.

    Not more than mmdet keeps per level (``nms_pre``).
    """
    limit = int(test_cfg.get('nms_pre', -1))
    return min(limit, _FACTOR * test_cfg['max_per_img']) if limit > 0 else -1


def least_of_best(scores: Tensor, count: int) -> Tensor:
    """A score that at least ``count`` pairs reach, in operators of all backends.

    Sorting would give the highest such score, but ncnn has no layer for it.
    The anchors are divided into ``count`` groups, neighbors into different
    ones. Each group has a pair with its largest score; the smallest of these
    is the result. Fewer anchors make fewer groups.

    Args:
        scores: (B, N, C); N is constant.
        count: Result of :func:`pairs_before_nms`.

    Returns:
        (B, 1, 1).
    """
    anchors = int(scores.shape[1])
    groups = min(count, anchors)
    grouped = anchors // groups * groups
    best = scores.amax(dim=2)[:, :grouped].reshape(-1, grouped // groups, groups)
    return best.amax(dim=1).amin(dim=1, keepdim=True)[..., None]
