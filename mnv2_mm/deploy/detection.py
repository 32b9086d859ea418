"""Export SSDLite's decoding, clipping and NMS as standard ONNX operators.

mmdet ranks (anchor, class) pairs, drops those below the score threshold, and
runs NMS per class. The graph does the same and ends in ``NonMaxSuppression``,
which ONNX Runtime and TensorRT implement. mmdeploy's own rewriter first ranks
anchors by their best class, and loses detections by that.

mmdet decodes in pixels of the network input and then scales boxes to the
image; the graph ends before the scaling, which does not change IoU.
"""

from collections.abc import Mapping, Sequence

import torch
from mmdeploy.codebase.mmdet.deploy import ObjectDetection
from mmdeploy.codebase.mmdet.deploy.object_detection import MMDET_TASK
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.mmcv.ops.nms import ONNXNMSop
from mmdeploy.utils import Task, get_codebase_config, is_dynamic_batch
from torch import Tensor, nn

from mnv2_mm.deploy.pre_nms_topk import least_of_best, pairs_before_nms
from mnv2_mm.deploy.tasks import CheckedTask
from mnv2_mm.models.ssdlite.decoding import decoded
from mnv2_mm.utils.errors import InputError


@MMDET_TASK.register_module(Task.OBJECT_DETECTION.value, force=True)
class CheckedObjectDetection(CheckedTask, ObjectDetection):
    """mmdeploy's task for mmdet; see :class:`CheckedTask`."""


@FUNCTION_REWRITER.register_rewriter(
    'mnv2_mm.models.ssdlite.head.SSDLiteHead.predict_by_feat'
)
def ssdlite_predict_by_feat(
    self: nn.Module,
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    batch_img_metas: Sequence[Mapping] | None = None,
    cfg: Mapping | None = None,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    """Convert the head's maps to detections, best first.

    With ``codebase_config.with_nms=False`` the graph ends before the NMS, which
    :mod:`mnv2_mm.runtime.nms` runs; see :func:`candidates` for its outputs.

    Returns:
        (B, K, 5), x1, y1, x2, y2 in pixels of the network input and the
        score, and the classes (B, K) int64. K is ``max_per_img``; empty
        places have score 0 and class -1.

    Raises:
        InputError: another input size than that of the anchors, or a
            ``test_cfg`` that standard operators do not cover.
    """
    deploy_cfg = FUNCTION_REWRITER.get_context().cfg
    rules = nms_rules(self.test_cfg if cfg is None else cfg)
    found = candidates(self, cls_scores, bbox_preds, batch_img_metas, rules)
    if not get_codebase_config(deploy_cfg).get('with_nms', True):
        return found
    return select(*found, dynamic=is_dynamic_batch(deploy_cfg), **rules)


def candidates(
    head: nn.Module,
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    batch_img_metas: Sequence[Mapping],
    rules: dict,
) -> tuple[Tensor, Tensor]:
    """What enters the NMS: boxes (B, N, 4) in pixels, and scores (B, N, C).

    ``min_size`` and ``before`` of the rules are applied, and removed from them: a
    pair that they exclude has the score 0.
    """
    height, width = (int(side) for side in batch_img_metas[0]['img_shape'])
    head.prior_generator.check((height, width))
    min_size, before = rules.pop('min_size'), rules.pop('before')
    boxes, scores = decoded(
        head, cls_scores, bbox_preds, size=(width, height), min_size=min_size
    )
    if before > 0:
        scores = scores * (scores >= least_of_best(scores, before)).to(scores.dtype)
    return boxes, scores


def nms_rules(test_cfg: Mapping) -> dict:
    """Arguments of ``NonMaxSuppression`` from an mmdet ``test_cfg``.

    Returns:
        ``iou``, ``score``, ``keep`` (detections per image), ``min_size``
        (in pixels of the network input, -1 for any) and ``before`` (pairs
        per image that enter the NMS at least, -1 for all).

    Raises:
        InputError: an NMS other than the plain one per class.
    """
    nms = test_cfg.get('nms') or dict(type=None)
    kind = nms.get('type', 'nms')
    if kind != 'nms' or nms.get('class_agnostic'):
        what = f'type={kind!r}' if kind != 'nms' else 'class_agnostic=True'
        raise InputError(
            f'model.test_cfg.nms has {what}; a graph of standard operators '
            "runs NMS per class: use type='nms' and leave class_agnostic out"
        )
    unknown = sorted({*nms} - {'type', 'class_agnostic', 'iou_threshold', 'split_thr'})
    if unknown or 'iou_threshold' not in nms:
        what = f'has {", ".join(unknown)}' if unknown else 'lacks iou_threshold'
        raise InputError(
            f'model.test_cfg.nms {what}; an exported NMS has iou_threshold alone'
        )
    keep = test_cfg.get('max_per_img', -1)
    if not isinstance(keep, int) or not 0 < keep < 3840:
        raise InputError(
            f'model.test_cfg.max_per_img is {keep}; a graph has a fixed '
            'number of detections: use 1 to 3839'
        )
    return dict(
        iou=float(nms['iou_threshold']),
        score=float(test_cfg.get('score_thr', 0)),
        keep=keep,
        min_size=float(test_cfg.get('min_bbox_size', -1)),
        before=pairs_before_nms(test_cfg),
    )


def select(
    boxes: Tensor, scores: Tensor, *, iou: float, score: float, keep: int, dynamic: bool
) -> tuple[Tensor, Tensor]:
    """Run NMS per class, then keep the best detections of all classes.

    Args:
        boxes: (B, N, 4).
        scores: (B, N, C).
        iou: Overlap from which the lower score is dropped.
        score: Pairs must have more.
        keep: Detections per image, padded if there are fewer.
        dynamic: Whether B is dynamic; else it must be 1.
    """
    anchors, classes = (int(size) for size in scores.shape[1:])
    # no class can contribute more than all of them together
    chosen = ONNXNMSop.apply(boxes, scores.transpose(1, 2), keep, iou, score)
    # their number is known only at run time: Gather and Concat accept that,
    # Split, Squeeze and Pad compute with sizes
    image, label, anchor = (chosen[:, column] for column in range(3))
    pair = (image * anchors + anchor) * classes + label
    pool = scores.reshape(1, -1)[:, pair]
    room = torch.zeros(1, keep)
    if dynamic:
        images = torch.arange(scores.shape[0], device=scores.device)
        own = image[None] == images[:, None]
        pool = pool * own.to(pool.dtype)
        room = scores.new_zeros((scores.shape[0], keep))
    pool = torch.cat([pool, room], dim=1)
    best, rows = pool.topk(keep, dim=1)
    nothing = torch.zeros(keep, dtype=torch.int64)
    anchor = torch.cat([anchor, nothing])[rows]
    label = torch.cat([label, nothing])[rows]
    if dynamic:
        anchor = anchor + images[:, None] * anchors
    found = boxes.reshape(-1, 4)[anchor]
    real = (best > 0).to(label.dtype)
    dets = torch.cat([found, best[..., None]], dim=-1)
    dets = dets * real[..., None].to(dets.dtype)
    # not torch.where: TFLite refuses the SELECT that it becomes
    return dets, (label + 1) * real - 1
