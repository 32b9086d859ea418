"""Match the boxes of a test set with its objects: COCO's AP, and TIDE's errors.

faster-coco-eval computes AP and finds the object of each box. The kinds of errors are
those of TIDE (Bolya et al., 2020, section 2.2). Its package tidecv has had no release
since 2020 and installs pandas and seaborn; the tests compare with it where it is there.
"""

from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from mnv2_mm.analysis.report.collect import Sample
from mnv2_mm.utils.compat import required

#: From this IoU on a box is right; up to the other one it is on background.
RIGHT, BACKGROUND = 0.5, 0.1
#: Kind of error: its meaning.
KINDS = {
    'missed': 'an object without a box',
    'localization': 'right class, but the box fits badly (IoU 0.1 to 0.5)',
    'classification': 'the box fits, the class is wrong',
    'class and place': 'wrong class, and the box fits badly',
    'duplicate': 'a second box for an object that has one',
    'background': 'a box where there is no object',
}


def library() -> ModuleType:
    """faster_coco_eval, or an InputError that says how to install it."""
    return required('faster_coco_eval', 'the report', package='faster-coco-eval')


class Boxes:
    """All boxes of a set in one array each, and their evaluation.

    Args:
        samples: Of a detector.
        names: Classes.

    Attributes:
        true, found: ``boxes``, ``labels`` and ``ignored`` or ``scores`` of all images.
        true_image, image: Number of the image of each of them.
    """

    def __init__(self, samples: Sequence[Sample], names: Sequence[str]) -> None:
        self.names = names
        self.true_image, self.true, entries = _joined([s.truth for s in samples])
        self.crowd, self.true_labels = self.true['ignored'], self.true['labels']
        self.image, self.found, found = _joined([s.found for s in samples])
        self.scores, self.labels = self.found['scores'], self.found['labels']
        self._library = library()
        for entry, crowd in zip(entries, self.crowd, strict=True):
            entry |= dict(iscrowd=int(crowd), area=entry['bbox'][2] * entry['bbox'][3])
        for entry, score in zip(found, self.scores.tolist(), strict=True):
            entry['score'] = score
        images = [dict(id=i) for i in range(len(samples))]
        categories = [dict(id=i, name=name) for i, name in enumerate(names)]
        content = dict(images=images, categories=categories, annotations=entries)
        self._truth = self._library.COCO(content)
        self._found = self._truth.loadRes(found)

    def precision(self) -> np.ndarray:
        """(IoU thresholds, recalls, classes) of COCO; -1 where there is no object."""
        return self._evaluate().eval['precision'][..., 0, -1]

    def partners(self, *, by_class: bool) -> np.ndarray:
        """(boxes,) number of each one's object, -1 for none, -2 for an ignored one.

        The higher score chooses first, so that a threshold changes no other partner.
        """
        partner = np.full(len(self.scores), -1)
        pairs = self._evaluate(iouThrs=[RIGHT], useCats=int(by_class)).eval['matched']
        for box, true in (map(int, pair.split('_')) for pair in pairs):
            partner[box - 1] = -2 if self.crowd[true - 1] else true - 1
        return partner

    def _evaluate(self, **params: Any) -> Any:
        most = int(np.bincount(self.image, minlength=1).max())
        evaluation = self._library.COCOeval_faster(
            self._truth, self._found, 'bbox', extra_calc=True
        )
        for key, value in dict(maxDets=[1, 10, max(100, most)], **params).items():
            setattr(evaluation.params, key, value)
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation

    def of_image(self, number: int) -> tuple[slice, slice]:
        """Where the boxes and the objects of an image are."""
        return tuple(  # type: ignore[return-value]
            slice(*np.searchsorted(images, [number, number + 1]))
            for images in (self.image, self.true_image)
        )


def _joined(
    parts: Sequence[dict[str, np.ndarray]],
) -> tuple[np.ndarray, dict[str, np.ndarray], list[dict]]:
    """Number of the image of each box, all boxes, and the same as COCO's entries."""
    joined = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
    image = np.repeat(np.arange(len(parts)), [len(p['labels']) for p in parts])
    sides = joined['boxes'].astype(float)
    sides[:, 2:] -= sides[:, :2]
    rows = zip(image.tolist(), joined['labels'].tolist(), sides.tolist(), strict=True)
    entries = [
        dict(id=number, image_id=image, category_id=label, bbox=box)
        for number, (image, label, box) in enumerate(rows, 1)
    ]
    return image, joined, entries


def error_kinds(
    boxes: np.ndarray,
    labels: np.ndarray,
    true_boxes: np.ndarray,
    true_labels: np.ndarray,
    used: np.ndarray,
) -> Counter[str]:
    """Errors of one image by kind, as TIDE defines them.

    Args:
        boxes, labels: (n, 4) and (n,), the boxes that matched no object.
        true_boxes, true_labels, used: (m, 4), (m,) and (m,), the objects, and whether
            a box matched them. An object that only a badly placed or wrongly named
            box touches counts with that box, not as missed.
    """
    if not len(true_boxes):
        return Counter({'background': len(boxes)} if len(boxes) else {})
    from mmdet.evaluation.functional import bbox_overlaps

    iou = bbox_overlaps(boxes, true_boxes)
    same = labels[:, None] == true_labels
    own, other = iou * same, iou * ~same
    places = [
        (own.max(1) >= BACKGROUND) & (own.max(1) <= RIGHT),
        other.max(1) >= RIGHT,
        (own * used).max(1) >= RIGHT,
        iou.max(1) <= BACKGROUND,
    ]
    names = ['localization', 'classification', 'duplicate', 'background']
    kinds = np.select(places, names, 'class and place')
    touched = used.copy()
    touched[own.argmax(1)[kinds == names[0]]] = True
    touched[other.argmax(1)[kinds == names[1]]] = True
    counts = Counter(kinds.tolist())
    return counts + Counter(missed=int((~touched).sum()))
