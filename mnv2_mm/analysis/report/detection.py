"""Analyze the boxes of a test set: AP, precision, recall, and errors by kind.

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
from mnv2_mm.analysis.report.figures import draw_precision_recall
from mnv2_mm.analysis.report.findings import (
    Findings,
    Ranked,
    Section,
    confusion_sections,
    names_of,
    percent,
    ratio,
)
from mnv2_mm.utils.compat import required
from mnv2_mm.utils.errors import InputError

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
_GRID = np.arange(1, 100) / 100  # scores that are tried as thresholds
_DEFAULT = 0.3  # the threshold where no box is right


def analyze_boxes(samples: Sequence[Sample], classes: Sequence[str]) -> Findings:
    """Analyze boxes.

    Raises:
        InputError: there is no object, or no package for the evaluation.
    """
    boxes = _Boxes(samples, names_of(classes, len(classes)))
    objects = ~boxes.crowd
    if not objects.any():
        raise InputError('the test set has no boxes, so there is nothing to compare')
    partner = boxes.partners(by_class=True)
    counted = partner != -2
    total = int(objects.sum())
    threshold = _best_threshold(boxes.scores[counted], partner[counted] >= 0, total)
    kept = counted & (boxes.scores >= threshold)
    right = kept & (partner >= 0)
    precision = boxes.precision()
    found, share = int(right.sum()), right.sum() / max(kept.sum(), 1)
    seen = (precision > -1).any((0, 1))
    ap, ap50 = (
        np.where(seen, part.mean((0, 1)), np.nan) for part in (precision, precision[:1])
    )
    kinds, ranked = _errors(samples, boxes, partner, kept)
    sentence = (
        f'The model finds {100 * found / total:.0f} of 100 objects, and '
        f'{100 * share:.0f} of 100 of its boxes are right. Boxes with a score of '
        f'{threshold:.2f} or more count; this threshold has the best balance (F1) on '
        'these images.'
    )
    names = boxes.names
    lines = {n: precision[0, :, i] for i, n in enumerate(names) if seen[i]}
    sections = [
        _class_section(boxes, ap, ap50, kept, right),
        Section(
            'Precision and recall',
            'Recall: which share of the objects is found. Precision: which share of '
            'the boxes is right. A lower threshold finds more and errs more often.',
            [draw_precision_recall(lines, np.linspace(0, 1, precision.shape[1]))],
        ),
        Section(
            'Errors by kind',
            f'All {sum(kinds.values()):,} errors at this threshold, beside '
            f'{found:,} right boxes. IoU is the overlap of two boxes, 0 to 1.',
            columns=['kind', 'meaning', 'errors', 'share'],
            rows=[
                [kind, text, f'{kinds[kind]:,}', percent(kinds[kind] / kinds.total())]
                for kind, text in sorted(KINDS.items(), key=lambda k: -kinds[k[0]])
                if kinds[kind]
            ],
            words=2,
        ),
        *confusion_sections(
            _confusion(boxes, kept, boxes.partners(by_class=False)),
            names,
            unit='objects',
            extra=('no object', 'no box'),
        ),
    ]
    meaning = 'mean over classes and over IoU 0.5 to 0.95, 1 is perfect (COCO)'
    value = f'{np.nanmean(ap):.3f}'
    return Findings('mAP', value, meaning, sentence, sections, ranked, threshold)


def library() -> ModuleType:
    """faster_coco_eval, or an InputError that says how to install it."""
    return required('faster_coco_eval', 'the report', package='faster-coco-eval')


class _Boxes:
    """All boxes of a set in one array each, and faster-coco-eval's evaluation."""

    def __init__(self, samples: Sequence[Sample], names: Sequence[str]) -> None:
        self.names = names
        self.place, self.true, entries = _joined([s.truth for s in samples])
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
            for images in (self.image, self.place)
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


def _best_threshold(scores: np.ndarray, right: np.ndarray, total: int) -> float:
    """The score from which F1 is highest."""
    order = np.argsort(-scores)
    kept = np.searchsorted(-scores[order], -_GRID, side='right')
    found = np.concatenate([[0], np.cumsum(right[order])])[kept]
    best = np.argmax(2 * found / (kept + total))
    return float(_GRID[best]) if found[best] else _DEFAULT


def _class_section(
    boxes: _Boxes, ap: np.ndarray, ap50: np.ndarray, kept: np.ndarray, right: np.ndarray
) -> Section:
    """Figures of each class, the worst one first."""
    count = len(boxes.names)
    true, shown, good = (
        np.bincount(labels, minlength=count)
        for labels in (
            boxes.true_labels[~boxes.crowd],
            boxes.labels[kept],
            boxes.labels[right],
        )
    )
    precision, recall = ratio(good, shown), ratio(good, true)
    return Section(
        'Classes',
        'The worst class first. AP: the area under precision over recall, mean over '
        'IoU 0.5 to 0.95. AP50: at IoU 0.5 alone.',
        columns=[
            'class',
            'objects',
            'AP',
            'AP50',
            'found (recall)',
            'right (precision)',
        ],
        rows=[
            [
                boxes.names[i],
                f'{true[i]:,}',
                *(percent(share[i]) for share in (ap, ap50, recall, precision)),
            ]
            for i in np.argsort(ap, kind='stable')
        ],
    )


def _confusion(boxes: _Boxes, kept: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """(truth, prediction) with no object and no box as last row and column."""
    none = len(boxes.names)
    matrix = np.zeros((none + 1, none + 1), int)
    good, lone = kept & (partner >= 0), kept & (partner == -1)
    np.add.at(matrix, (boxes.true_labels[partner[good]], boxes.labels[good]), 1)
    np.add.at(matrix, (none, boxes.labels[lone]), 1)
    missed = ~boxes.crowd
    missed[partner[good]] = False
    np.add.at(matrix, (boxes.true_labels[missed], none), 1)
    return matrix


def _errors(
    samples: Sequence[Sample], boxes: _Boxes, partner: np.ndarray, kept: np.ndarray
) -> tuple[Counter, list[Ranked]]:
    """Number of errors of each kind, and the images, the worst F1 first."""
    total: Counter[str] = Counter()
    ranked = []
    used = np.zeros(len(boxes.crowd), bool)
    used[partner[kept & (partner >= 0)]] = True
    for number, sample in enumerate(samples):
        mine, true = boxes.of_image(number)
        objects = ~boxes.crowd[true]
        wrong = kept[mine] & (partner[mine] < 0)
        kinds = error_kinds(
            boxes.found['boxes'][mine][wrong],
            boxes.labels[mine][wrong],
            boxes.true['boxes'][true][objects],
            boxes.true_labels[true][objects],
            used[true][objects],
        )
        total += kinds
        found, count = int(used[true].sum()), int(objects.sum())
        errors = int(wrong.sum()) + count - found
        text = ', '.join(f'{n} {kind}' for kind, n in kinds.most_common())
        caption = f'{found} of {count} objects found; errors: {text or "none"}'
        if found + errors:
            f1 = 2 * found / (2 * found + errors)
            ranked.append((f1, -errors, found, Ranked(sample, caption)))
    return total, [entry for *_, entry in sorted(ranked, key=lambda r: r[:3])]


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
    iou = _iou(boxes, true_boxes)
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


def _iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, m) overlap of boxes x1, y1, x2, y2."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    inner = np.clip(high - low, 0, None).prod(-1)
    areas = [(b[:, 2:] - b[:, :2]).prod(-1) for b in (boxes, others)]
    return inner / np.maximum(areas[0][:, None] + areas[1] - inner, 1e-9)
