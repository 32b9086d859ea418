"""Figures and intervals of tools/reproduce.py, on answers that are known."""

import math
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

from mnv2_mm.analysis.accuracy import (
    _average_precision,
    bootstrap,
    mean_iou,
    measure,
    wilson,
)


def test_wilson() -> None:
    """Newcombe 1998, Table I: 81 of 263 and 0 of 20."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)


def test_the_bootstrap_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap(lambda picks: values[picks].mean(), 400, draws=500)
    half = 1.96 * values.std() / math.sqrt(400)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert (high + low) / 2 == pytest.approx(values.mean())


def test_mean_iou_counts_classes_in_two_ways() -> None:
    """Class 0 is half right, 1 only predicted, 2 right, 3 absent."""
    union, truth = [4, 2, 6, 0], [4, 0, 6, 0]
    areas = np.array([[[2, 0, 6, 0], union, [2, 2, 6, 0], truth]], float)
    assert mean_iou(areas) == (pytest.approx(50.0), 3)
    assert mean_iou(areas, with_truth=True) == (pytest.approx(75.0), 2)
    assert mean_iou(np.zeros((1, 4, 4)))[1] == 0


def test_no_interval_is_beyond_100_percent() -> None:
    """One of eight images is half wrong."""
    wrong, right = [[2], [4], [4], [4]], [[4], [4], [4], [4]]

    def test() -> None:
        runner.test_evaluator.metrics[0].areas = np.array([wrong, *[right] * 7], float)

    dataset = MagicMock(metainfo={}, __len__=lambda _: 8)
    runner = SimpleNamespace(
        test=test,
        test_evaluator=SimpleNamespace(metrics=[]),
        test_dataloader=SimpleNamespace(dataset=dataset),
    )
    found = measure(runner, 'seg')
    assert found.value == pytest.approx(93.75)
    assert 0 < found.low < found.value and found.high == 100


def test_average_precision_is_the_hosts(tmp_path: Path) -> None:
    """Two objects in each of three images: exact, shifted, not found."""
    pytest.importorskip('mmdet.models')
    from mmdet.evaluation import CocoMetric

    from mnv2_mm.utils.files import write_json

    images = [dict(id=i, file_name=f'{i}.jpg', width=90, height=90) for i in range(3)]
    boxes = [
        dict(id=2 * i + j + 1, image_id=i, category_id=1, bbox=box, iscrowd=0)
        | dict(area=box[2] * box[3])
        for i in range(3)
        for j, box in enumerate([[10, 10, 40, 40], [60, 60, 20, 20]])
    ]
    content = dict(images=images, annotations=boxes, categories=[dict(id=1, name='x')])
    write_json(tmp_path / 'truth.json', content)
    prefix = str(tmp_path / 'boxes')
    metric = CocoMetric(str(tmp_path / 'truth.json'), outfile_prefix=prefix)
    metric.dataset_meta = dict(classes=('x',))
    found = {0: [10, 10, 50, 50], 1: [10, 10, 50, 58], 2: [10, 50, 50, 90]}
    results = [
        ({}, dict(img_id=i, labels=np.zeros(2, int), bboxes=np.array(pair, float)))
        for i, pair in ((i, [box, [60, 60, 80, 80]]) for i, box in found.items())
    ]
    for number, (_, result) in enumerate(results):
        result['scores'] = np.array([0.9, 0.5]) - number / 10
    host = metric.compute_metrics(results)
    here = _average_precision(metric)
    assert here.value / 100 == pytest.approx(host['bbox_mAP'], abs=6e-4)
    assert here.more['AP50'] / 100 == pytest.approx(host['bbox_mAP_50'], abs=6e-4)
    assert here.more['AP75'] / 100 == pytest.approx(host['bbox_mAP_75'], abs=6e-4)
    assert 0 <= here.low < here.value < here.high
    # the shifted box overlaps by 40 / 48, so that it counts up to 0.8; the wrong one
    # has a higher score than the small ones of the other images
    assert 0.5 < here.value / 100 < 0.83
