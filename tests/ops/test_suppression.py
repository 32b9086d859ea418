"""NMS and soft-NMS against mmcv's compiled ops, and against a plain loop."""

import itertools

import numpy as np
import pytest
import torch

from mnv2_mm import ops
from mnv2_mm.ops.suppression import BLOCK

COUNTS = (0, 1, 2, 40, 2 * BLOCK + 30)


def random_boxes(count, *, ties, seed=0):
    """Boxes and scores; with ``ties`` many of both are equal, and some are empty."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 4, generator=generator) * 100
    boxes[:, 2:] = boxes[:, :2] + torch.rand(count, 2, generator=generator) * 60
    scores = torch.rand(count, generator=generator)
    if ties:
        boxes, scores = (boxes / 8).round() * 8, (scores * 5).round() / 5
    return boxes, scores


def loop_nms(boxes, scores, limit, offset):
    """Greedy suppression as it is defined, one pair at a time."""
    kept = []
    for i in scores.sort(descending=True).indices.tolist():
        x1, y1, x2, y2 = boxes[i].numpy()
        for j in kept:
            a1, b1, a2, b2 = boxes[j].numpy()
            width = max(min(x2, a2) - max(x1, a1) + np.float32(offset), 0)
            height = max(min(y2, b2) - max(y1, b1) + np.float32(offset), 0)
            area = (x2 - x1 + offset) * (y2 - y1 + offset)
            area += (a2 - a1 + offset) * (b2 - b1 + offset)
            if width * height and width * height / (area - width * height) > limit:
                break
        else:
            kept.append(i)
    return kept


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('ties', [False, True])
def test_nms_keeps_what_greedy_suppression_keeps(ties, offset):
    for count in COUNTS:
        boxes, scores = random_boxes(count, ties=ties)
        kept = ops.nms(boxes, scores, iou_threshold=0.5, offset=offset)
        assert kept.dtype == torch.int64
        assert kept.tolist() == loop_nms(boxes, scores, 0.5, offset)


def test_the_threshold_is_that_of_a_float():
    """An IoU of float32(0.3), which is above 0.3, does not exceed it."""
    boxes = torch.tensor([[0, 0, 10, 1], [0, 0, 3, 1.0]])
    for threshold, kept in ((0.3, 2), (0.3 - 1e-7, 1)):
        assert len(ops.nms(boxes, torch.tensor([0.9, 0.8]), threshold, 0)) == kept


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('ties', [False, True])
def test_nms_is_that_of_the_compiled_op(compiled, ties, offset):
    for count, seed in itertools.product(COUNTS, range(15)):
        boxes, scores = random_boxes(count, ties=ties, seed=seed)
        for threshold in (0.3, 0.45, 0.7):
            arguments = (boxes, scores, threshold, offset)
            assert torch.equal(ops.nms(*arguments), compiled.nms(*arguments))


@pytest.mark.parametrize('method', [0, 1, 2])
@pytest.mark.parametrize('ties', [False, True])
def test_soft_nms_is_that_of_the_compiled_op(compiled, ties, method):
    for count, seed in itertools.product((1, 2, 7, 60), range(6)):
        boxes, scores = random_boxes(count, ties=ties, seed=seed)
        for offset, smallest in itertools.product((0, 1), (0, 1e-3, 0.2)):
            results = []
            for library in (ops, compiled):
                dets = torch.zeros(count, 5)
                index = library.softnms(
                    boxes, scores, dets, 0.3, 0.5, smallest, method, offset
                )
                results.append((index, dets[: len(index)]))
            (index, dets), (expected, expected_dets) = results
            assert torch.equal(index, expected)
            torch.testing.assert_close(dets, expected_dets, equal_nan=True)


def test_soft_nms_of_two_boxes():
    """An IoU of 0.5 halves the score by the linear method."""
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60.0]])
    scores, dets = torch.tensor([0.8, 0.6, 0.5]), torch.zeros(3, 5)
    index = ops.softnms(boxes, scores, dets, 0.3, 0.5, 0.01, 1, 0)
    assert index.tolist() == [0, 2, 1]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.8, 0.5, 0.3]))
    assert torch.equal(dets[:, :4], boxes[index])
    assert len(ops.softnms(boxes, scores, dets, 0.3, 0.5, 0.4, 1, 0)) == 2
    assert torch.equal(scores, torch.tensor([0.8, 0.6, 0.5])), 'changed in place'
