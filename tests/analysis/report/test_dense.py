"""IoU, accuracy and the order of images, against hand counts."""

import numpy as np
import pytest

from mnv2_mm.analysis.report.collect import Sample, _png
from mnv2_mm.analysis.report.dense import analyze_classes, analyze_masks
from mnv2_mm.utils.errors import InputError


def masks(truth, found):
    return Sample('m.jpg', *({'png': _png(np.array(m))} for m in (truth, found)))


def classified(label, scores):
    scores = np.array(scores, np.float32)
    best = np.argsort(-scores)[:5]
    found = dict(labels=best, scores=scores[best], true_score=scores[label])
    return Sample(f'{label}.jpg', {'labels': np.array([label])}, found)


def rows(findings, title):
    part = next(part for part in findings.sections if part.title == title)
    return [[getattr(cell, 'text', cell) for cell in row] for row in part.rows]


def test_masks():
    samples = [
        masks([[0, 0, 1, 255]], [[0, 1, 1, 1]]),  # IoU 1/2 and 1/2
        masks([[1, 1, 1, 1]], [[1, 1, 1, 1]]),
    ]
    findings = analyze_masks(samples, ('sky', 'sea', 'sun'))
    # sky 1 of 2, sea 5 of 6; sun is nowhere
    assert findings.value == f'{100 * (1 / 2 + 5 / 6) / 2:.1f}'
    assert rows(findings, 'Classes')[0][::2] == ['sky', '50.0%']
    assert len(rows(findings, 'Classes')) == 2
    assert findings.sentence.endswith('has none: sun.')
    assert rows(findings, 'Most confused') == [['sky', 'sea', '1', '50.0%']]
    assert [r.sample for r in findings.ranked] == samples
    assert findings.ranked[0].caption == 'IoU: sky 0.50, sea 0.50'
    with pytest.raises(InputError, match='no pixel'):
        analyze_masks([masks([[255]], [[0]])], ('sky', 'sea'))


def test_classes():
    samples = [
        classified(0, [0.9, 0.1, 0.0]),
        classified(0, [0.2, 0.7, 0.1]),
        classified(1, [0.4, 0.6, 0.0]),
        classified(1, [0.6, 0.4, 0.0]),
    ]
    findings = analyze_classes(samples, ('cat', 'dog', 'bird'))
    assert findings.value == '50.0'
    assert rows(findings, 'Classes')[0] == ['cat', '2', '50.0%', '50.0%']
    assert [row[0] for row in rows(findings, 'Classes')] == ['cat', 'dog']
    assert findings.sentence.endswith('has none: bird.')
    pairs = [row[:3] for row in rows(findings, 'Most confused')]
    assert pairs == [['cat', 'dog', '1'], ['dog', 'cat', '1']]
    order = [samples.index(ranked.sample) for ranked in findings.ranked]
    assert order == [1, 3, 2, 0]
    assert 'dog with 70 %, wrong: it is cat' in findings.ranked[0].caption


def test_many_classes_keep_the_worst_in_the_matrix():
    count = 40
    names = [f'class{i:02d}' for i in range(count)]
    eye = np.eye(count)
    samples = [
        classified(i, eye[i if i % 2 else (i + 1) % count]) for i in range(count)
    ]
    findings = analyze_classes(samples, names)
    assert 'among its best five' in findings.sentence
    (matrix,) = (p for p in findings.sections if p.title == 'Confusion matrix')
    assert '20 classes' in matrix.drawings[0].alt
