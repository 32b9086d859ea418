"""Analyze masks and classified images: IoU, accuracy, confusion."""

from collections.abc import Sequence

import numpy as np

from mnv2_mm.analysis.report.collect import Sample, mask_of
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
from mnv2_mm.runtime.drawing import class_name
from mnv2_mm.utils.errors import InputError


def analyze_masks(samples: Sequence[Sample], classes: Sequence[str]) -> Findings:
    """Analyze the masks of a segmentation; pixels of no class (255) do not count.

    Raises:
        InputError: no pixel has a class.
    """
    total = np.zeros((len(classes),) * 2, int)
    scores = []
    for sample in samples:
        matrix = _pixels(mask_of(sample.truth), mask_of(sample.found), len(classes))
        total += matrix
        if matrix.any():
            iou = _iou(matrix)
            worst = ', '.join(
                f'{classes[i]} {iou[i]:.2f}' for i in np.argsort(iou) if iou[i] >= 0
            )
            scores.append((float(np.nanmean(iou)), sample, f'IoU: {worst}'))
    if not scores:
        raise InputError('no pixel of the test set has a class: nothing to compare')
    iou, accuracy = _iou(total), ratio(total.diagonal(), total.sum(1))
    pixels = total.diagonal().sum() / total.sum()
    sections = [
        Section(
            'Classes',
            'The worst classes first. IoU: overlap of the true and the predicted '
            'region, divided by both together. Found: share of the true pixels.',
            columns=['class', 'share of the pixels', 'IoU', 'found (recall)'],
            rows=[
                [
                    classes[i],
                    *map(percent, (total[i].sum() / total.sum(), iou[i], accuracy[i])),
                ]
                for i in worst_first(iou)
            ],
        ),
        *confusion_sections(total, classes, unit='pixels'),
    ]
    sentence = (
        f'The model gives {100 * pixels:.1f} of 100 pixels their true class. For the '
        f'average class, the predicted and the true region overlap by '
        f'{np.nanmean(iou):.0%}.'
    )
    sentence += without_truth(classes, total.sum(1))
    meaning = 'overlap of true and predicted regions, mean over classes; 100 is perfect'
    ranked = [Ranked(*entry[1:]) for entry in sorted(scores, key=lambda s: s[0])]
    value = f'{100 * np.nanmean(iou):.1f}'
    return Findings('mIoU', value, meaning, sentence, sections, ranked)


def _pixels(truth: np.ndarray, found: np.ndarray, count: int) -> np.ndarray:
    """(truth, prediction), number of pixels."""
    valid = truth < count
    pairs = truth[valid].astype(int) * count + found[valid]
    return np.bincount(pairs, minlength=count**2).reshape(count, count)


def _iou(matrix: np.ndarray) -> np.ndarray:
    """IoU of each class; nan for one that is in neither truth nor prediction."""
    both = matrix.diagonal()
    return ratio(both, matrix.sum(0) + matrix.sum(1) - both)


def analyze_classes(samples: Sequence[Sample], classes: Sequence[str]) -> Findings:
    """Analyze classified images."""
    true = np.array([sample.truth['labels'][0] for sample in samples])
    best = np.array([sample.found['labels'] for sample in samples])
    count = len(classes) or int(max(true.max(), best.max())) + 1
    names = [class_name(classes, label) for label in range(count)]
    matrix = np.zeros((len(names),) * 2, int)
    np.add.at(matrix, (true, best[:, 0]), 1)
    counts, predicted, right = matrix.sum(1), matrix.sum(0), matrix.diagonal()
    top1, top5 = (best[:, 0] == true).mean(), (best == true[:, None]).any(1).mean()
    sentence = f'The model names {top1:.0%} of the images right.'
    if len(names) > 2 * best.shape[1]:
        sentence += f' The true class is among its best five for {top5:.0%}.'
    sentence += without_truth(names, counts)
    recall, precision = ratio(right, counts), ratio(right, predicted)
    sections = [
        Section(
            'Classes',
            'The worst classes first. Accuracy: share of its images that are named '
            'right. Precision: share of the images with this answer that are of it.',
            columns=['class', 'images', 'accuracy', 'precision'],
            rows=[
                [names[i], f'{counts[i]:,}', percent(recall[i]), percent(precision[i])]
                for i in worst_first(recall)
            ],
        ),
        *confusion_sections(matrix, names, unit='images'),
    ]
    # a confident error is worse than a doubtful one, and a confident success better
    order = sorted(samples, key=_certainty)
    ranked = [Ranked(sample, _caption(sample, names)) for sample in order]
    meaning = 'share of the images with the right class, in percent'
    value = f'{100 * top1:.1f}'
    return Findings('top-1 accuracy', value, meaning, sentence, sections, ranked)


def _certainty(sample: Sample) -> float:
    """Score of the true class minus that of the best other one, -1 to 1."""
    truth, found = sample.truth['labels'][0], sample.found
    others = found['scores'][found['labels'] != truth]
    return float(found['true_score'] - max(others, default=0))


def _caption(sample: Sample, names: Sequence[str]) -> str:
    truth, found = int(sample.truth['labels'][0]), sample.found
    answer = int(found['labels'][0])
    verdict = 'right' if answer == truth else f'wrong: it is {names[truth]}'
    return f'{names[answer]} with {100 * found["scores"][0]:.0f} %, {verdict}'
