"""Run the NMS of a detector whose graph ends before it, as for TensorRT for RTX.

OpenCV's NMS does the work, per class; the order and the padding are those of a
graph that has the NMS inside, see mnv2_mm/deploy/detection.py.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mnv2_mm.utils.errors import InputError

#: Outputs of such a graph: boxes (B, N, 4) in pixels, scores (B, N, C).
CANDIDATES = ['boxes', 'scores']
#: Pairs of box and class that are tried first, as a multiple of the boxes to keep. Only
#: a better pair of the class can suppress a pair, so the best ones alone are enough as
#: soon as they leave enough boxes.
_FIRST = 2


class WithNms:
    """A loaded network, with the NMS behind it.

    Args:
        network: A backend's wrapper whose outputs are :data:`CANDIDATES`.
        thresholds: ``score_thr``, ``nms_iou`` and ``max_per_img`` of model.json.
    """

    def __init__(self, network: Any, thresholds: Mapping) -> None:
        self.network, self._thresholds = network, thresholds
        self.version, self.on_cpu = network.version, network.on_cpu
        self.outputs = ['dets', 'labels']

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 -> ``dets`` (B, K, 5), ``labels`` (B, K).

        K is ``max_per_img``; empty places have score 0 and class -1.
        """
        found = self.network(inputs)
        boxes, scores = (np.asarray(found[name], np.float32) for name in CANDIDATES)
        if not (scores.ndim == 3 and boxes.shape == (*scores.shape[:2], 4)):
            raise InputError(
                f'the network has boxes {boxes.shape} and scores {scores.shape}, not '
                '(B, N, 4) and (B, N, C); export the model again with tools/export.py'
            )
        score, iou, keep = (
            self._thresholds[key] for key in ('score_thr', 'nms_iou', 'max_per_img')
        )
        images = [
            select(*pair, score=score, iou=iou, keep=keep)
            for pair in zip(boxes, scores, strict=True)
        ]
        dets, labels = map(np.stack, zip(*images, strict=True))
        return {'dets': dets, 'labels': labels}


def with_nms(network: Any, info: Mapping) -> Any:
    """The network, with an NMS behind it if model.json says that it lacks one."""
    limits = info['thresholds']
    if info['task'] != 'det' or limits is None or limits['in_graph']:
        return network
    lacking = not set(CANDIDATES) <= set(network.outputs)
    return network if lacking else WithNms(network, limits)


def select(
    boxes: np.ndarray, scores: np.ndarray, *, score: float, iou: float, keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """Run NMS per class, then keep the best detections of all classes.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N, C).
        score: Pairs of box and class must have more, and more than 0.
        iou: Of two boxes of a class that overlap more, the better is kept.
        keep: Rows of the result.

    Returns:
        (keep, 5), boxes and scores, best first, and classes (keep,) int64. Of equal
        scores the first class and then the first box comes first.
    """
    # a score of 0 marks a pair that the graph has excluded; NaN is excluded here
    finite = np.isfinite(boxes).all(1)
    values = scores if finite.all() else np.where(finite[:, None], scores, 0)
    best_of_box = np.sort(values.max(1, initial=0))
    count = _FIRST * keep
    while True:
        # that many boxes, and so that many pairs at least, reach this score
        least = best_of_box[-count] if count < len(best_of_box) else 0
        enough = least > max(score, 0)
        passed = values >= least if enough else values > max(score, 0)
        row, label = np.divmod(np.flatnonzero(passed), scores.shape[1])
        order = np.lexsort((row, label, -values[row, label]))[:count]
        row, label = row[order], label[order]
        kept = _suppress(boxes[row], values[row, label], label, iou=max(iou, 0))
        if len(kept) >= keep or (not enough and len(row) < count):
            break
        count *= 4
    row, label = row[kept[:keep]], label[kept[:keep]]
    dets, labels = np.zeros((keep, 5), np.float32), np.full(keep, -1)
    dets[: len(row), :4], dets[: len(row), 4] = boxes[row], scores[row, label]
    labels[: len(row)] = label
    return dets, labels


def _suppress(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, *, iou: float
) -> np.ndarray:
    """Indices, rising, of the boxes (n, 4) that NMS within their classes leaves."""
    import cv2

    # OpenCV moves each class to a place of its own, which takes corners from 0 on
    first = boxes[:, :2].astype(float)
    sides = np.concatenate([first - first.min(0, initial=0), boxes[:, 2:] - first], 1)
    kept = cv2.dnn.NMSBoxesBatched(sides, scores.tolist(), labels.tolist(), 0, iou)
    return np.sort(np.asarray(kept, int))
