"""Errors by kind, thresholds and AP of boxes, against hand counts and pycocotools."""

import contextlib
import io
import sys
from collections import Counter

import numpy as np
import pytest

from mnv2_mm.analysis.report import detection
from mnv2_mm.analysis.report.collect import Sample
from mnv2_mm.analysis.report.detection import analyze_boxes
from mnv2_mm.analysis.report.matching import Boxes, error_kinds
from mnv2_mm.utils.errors import InputError

pytest.importorskip('faster_coco_eval', reason="the extra 'report' is not installed")
CLASSES = ('cat', 'dog', 'bird')
OBJECT = [0, 0, 10, 10]


def sample(true, found, *, ignored=()):
    """An image from (label, box) and (label, box, score)."""
    labels, boxes = zip(*true, strict=True) if true else ((), ())
    names, places, scores = zip(*found, strict=True) if found else ((), (), ())
    truth = dict(boxes=boxes, labels=labels, ignored=ignored or [False] * len(true))
    shapes = dict(boxes=(-1, 4), labels=-1, ignored=-1, scores=-1)
    kinds = dict(boxes=float, labels=int, ignored=bool, scores=np.float32)
    parts = (truth, dict(boxes=places, labels=names, scores=scores))
    return Sample(
        'image.jpg',
        *(
            {k: np.array(v, kinds[k]).reshape(shapes[k]) for k, v in part.items()}
            for part in parts
        ),
    )


def random_samples(count=12, seed=0):
    """Boxes near, between and far from objects; right and wrong classes."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        start = rng.uniform(0, 80, (rng.integers(0, 7), 2))
        true = np.hstack([start, start + rng.uniform(5, 30, start.shape)])
        labels = rng.integers(0, 2, len(true))
        twice = np.concatenate([true, true[::2], rng.uniform(0, 100, (3, 4))])
        found = twice + rng.normal(0, 2.5, twice.shape)
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 2)
        names = np.concatenate([labels, labels[::2], rng.integers(0, 2, 3)])
        names = np.where(rng.random(len(names)) < 0.2, 1 - names, names)
        scores = np.round(rng.random(len(names)), 6)
        samples.append(
            sample(
                [*zip(labels, true, strict=True)],
                [*zip(names, found, scores, strict=True)],
            )
        )
    return samples


def section(findings, title):
    return next(part for part in findings.sections if part.title == title)


def texts(rows):
    return [[getattr(cell, 'text', cell) for cell in row] for row in rows]


@pytest.mark.parametrize(
    ('label', 'box', 'used', 'expected'),
    [
        (0, [0, 0, 10, 4], False, dict(localization=1)),
        (1, [0, 0, 10, 9], False, dict(classification=1)),
        (1, [0, 0, 10, 4], False, {'class and place': 1, 'missed': 1}),
        (0, [0, 0, 10, 9], True, dict(duplicate=1)),
        (0, [50, 50, 60, 60], False, dict(background=1, missed=1)),
        (0, [50, 50, 60, 60], True, dict(background=1)),
        (0, [0, 0, 10, 0.5], False, dict(background=1, missed=1)),
    ],
)
def test_kinds_of_errors(label, box, used, expected):
    found = np.array([box], float), np.array([label])
    true = np.array([OBJECT], float), np.array([0])
    assert error_kinds(*found, *true, np.array([used])) == Counter(expected)
    nothing = np.zeros((0, 4)), np.zeros(0, int)
    assert error_kinds(*found, *nothing, np.zeros(0, bool)) == Counter(background=1)
    assert error_kinds(*nothing, *true, np.array([used])) == (
        Counter() if used else Counter(missed=1)
    )


def test_kinds_are_those_of_tide(monkeypatch):
    tide = pytest.importorskip('tidecv')
    monkeypatch.setattr(detection, '_GRID', np.array([0.2]))
    samples = random_samples(40)
    truth, found = tide.Data('truth'), tide.Data('found', max_dets=1000)
    for number, one in enumerate(samples):
        truth.add_image(number, one.path)  # also those without an object
        for label, box in zip(one.truth['labels'], one.truth['boxes'], strict=True):
            truth.add_ground_truth(number, label, [*box[:2], *(box[2:] - box[:2])])
        rows = zip(*(one.found[k] for k in ('labels', 'boxes', 'scores')), strict=True)
        for label, box, score in rows:
            if score >= 0.2:
                sides = [*box[:2], *(box[2:] - box[:2])]
                found.add_detection(number, label, float(score), sides)
    errors = tide.TIDE().evaluate(truth, found, mode=tide.TIDE.BOX).count_errors()
    names = dict(
        Cls='classification',
        Loc='localization',
        Both='class and place',
        Dupe='duplicate',
        Bkg='background',
        Miss='missed',
    )
    expected = {names[error.short_name]: n for error, n in errors.items()}
    rows = texts(section(analyze_boxes(samples, CLASSES), 'Errors by kind').rows)
    assert min(expected.values()) > 0
    assert {kind: int(n) for kind, _, n, _ in rows} == expected


def test_ap_is_that_of_pycocotools():
    coco = pytest.importorskip('pycocotools.coco')
    evaluation = pytest.importorskip('pycocotools.cocoeval')
    samples = random_samples()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        boxes = Boxes(samples, CLASSES)
        truth.dataset = boxes._truth.dataset
        truth.createIndex()
        found = truth.loadRes([*boxes._found.anns.values()])
        run = evaluation.COCOeval(truth, found, 'bbox')
        run.evaluate()
        run.accumulate()
    precision = run.eval['precision'][..., 0, -1]
    expected = precision[precision > -1].mean()
    assert float(analyze_boxes(samples, CLASSES).value) == pytest.approx(
        expected, abs=6e-4
    )


def test_threshold_precision_and_recall():
    true = [(0, OBJECT), (1, [20, 20, 40, 40])]
    found = [
        (0, OBJECT, 0.9),
        (1, [20, 20, 40, 40], 0.6),
        (1, [70, 70, 80, 80], 0.4),
        (0, [70, 70, 90, 80], 0.35),
    ]
    findings = analyze_boxes([sample(true, found), sample([(0, OBJECT)], [])], CLASSES)
    assert 0.4 < findings.threshold <= 0.6
    assert '67 of 100 objects' in findings.sentence
    assert '100 of 100 of its boxes' in findings.sentence
    rows = {row[0]: row[1:] for row in texts(section(findings, 'Classes').rows)}
    assert rows['cat'][0] == '2' and rows['cat'][-2:] == ['50.0%', '100.0%']
    assert 'bird' not in rows  # there is none
    assert findings.sentence.endswith('has none: bird.')
    assert [r.caption.partition(' ')[0] for r in findings.ranked] == ['0', '2']


def test_boxes_at_ignored_objects_are_no_errors():
    true = [(0, OBJECT), (1, [20, 20, 40, 40])]
    found = [(0, OBJECT, 0.9), (1, [20, 20, 40, 40], 0.9), (1, [20, 20, 40, 30], 0.9)]
    findings = analyze_boxes([sample(true, found, ignored=[False, True])], CLASSES)
    assert not section(findings, 'Errors by kind').rows
    assert not section(findings, 'Most confused').rows
    assert '100 of 100 objects' in findings.sentence


def test_confused_classes():
    found = [(1, OBJECT, 0.9), (0, [50, 50, 60, 60], 0.9)]
    true = [(0, OBJECT), (0, [50, 50, 60, 60]), (2, [80, 80, 90, 90])]
    findings = analyze_boxes([sample(true, found)], CLASSES)
    rows = texts(section(findings, 'Most confused').rows)
    assert rows == [['cat', 'dog', '1', '50.0%'], ['bird', 'no box', '1', '100.0%']]


def test_bad_sets(monkeypatch):
    with pytest.raises(InputError, match='no boxes'):
        analyze_boxes([sample([], [(0, OBJECT, 0.5)])], CLASSES)
    nothing = analyze_boxes([sample([(0, OBJECT)], [])], CLASSES)
    assert nothing.value == '0.000' and nothing.threshold == 0.3
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    with pytest.raises(InputError, match='pip install faster-coco-eval'):
        analyze_boxes([sample([(0, OBJECT)], [])], CLASSES)
