"""Say in words and tables what a detector finds and where it errs."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mnv2_mm.analysis.report.collect import Sample
from mnv2_mm.analysis.report.figures import draw_precision_recall
from mnv2_mm.analysis.report.findings import (
    Findings,
    Ranked,
    Section,
    confusion_sections,
    percent,
    ratio,
    without_truth,
    worst_first,
)
from mnv2_mm.analysis.report.matching import KINDS, Boxes, error_kinds
from mnv2_mm.utils.errors import InputError

_GRID = np.arange(1, 100) / 100  # scores that are tried as thresholds
_DEFAULT = 0.3  # the threshold where no box is right


def analyze_boxes(samples: Sequence[Sample], classes: Sequence[str]) -> Findings:
    """Analyze boxes.

    Raises:
        InputError: there is no object, or no package for the evaluation.
    """
    boxes = Boxes(samples, classes)
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
        f'{threshold:.2f} or more count'
    )
    balance = '; this threshold has the best balance (F1) on these images'
    names = boxes.names
    counts = np.bincount(boxes.true_labels[objects], minlength=len(names))
    sentence += f'{balance if found else ""}.' + without_truth(names, counts)
    lines = {n: precision[0, :, i] for i, n in enumerate(names) if seen[i]}
    sections = [
        _class_section(boxes, counts, ap, ap50, kept, right),
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


def _best_threshold(scores: np.ndarray, right: np.ndarray, total: int) -> float:
    """The score from which F1 is highest."""
    order = np.argsort(-scores)
    kept = np.searchsorted(-scores[order], -_GRID, side='right')
    found = np.concatenate([[0], np.cumsum(right[order])])[kept]
    best = np.argmax(2 * found / (kept + total))
    return float(_GRID[best]) if found[best] else _DEFAULT


def _class_section(
    boxes: Boxes,
    true: np.ndarray,
    ap: np.ndarray,
    ap50: np.ndarray,
    kept: np.ndarray,
    right: np.ndarray,
) -> Section:
    """Figures of each class, the worst one first; ``true`` is the number of objects."""
    shown, good = (
        np.bincount(boxes.labels[chosen], minlength=len(true))
        for chosen in (kept, right)
    )
    precision, recall = ratio(good, shown), ratio(good, true)
    return Section(
        'Classes',
        'The worst classes first. AP: the area under precision over recall, mean over '
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
                *(percent(share[i], '{:.3f}') for share in (ap, ap50)),
                *(percent(share[i]) for share in (recall, precision)),
            ]
            for i in worst_first(ap)
        ],
    )


def _confusion(boxes: Boxes, kept: np.ndarray, partner: np.ndarray) -> np.ndarray:
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
    samples: Sequence[Sample], boxes: Boxes, partner: np.ndarray, kept: np.ndarray
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
