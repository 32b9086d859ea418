"""Which anchors take part in SSDLite's loss."""

import pytest
import torch
from mmcv.ops import nms

from mnv2_mm.models.ssdlite import mining as ssdlite_mining
from mnv2_mm.models.ssdlite.mining import mine_hard_examples, near_nms


def _spread_boxes(n):
    x = torch.arange(n).float()[:, None] * 20
    return torch.cat([x, x * 0, x + 10, x * 0 + 10], 1)


def test_mining_keeps_three_hard_negatives_a_positive():
    losses = torch.tensor([0.1, 5.0, 4.0, 3.0, 2.0, 1.0])
    positive = torch.tensor([True] + [False] * 5)
    mask = mine_hard_examples(losses, _spread_boxes(6), positive)
    assert mask.tolist() == [True, True, True, True, False, False]


def test_mining_keeps_three_negatives_in_an_empty_image():
    mask = mine_hard_examples(
        torch.arange(6.0), _spread_boxes(6), torch.zeros(6, dtype=torch.bool)
    )
    assert mask.tolist() == [False] * 3 + [True] * 3


def test_mining_drops_near_duplicates_even_positives():
    boxes = _spread_boxes(4)
    boxes[1] = boxes[0] + 0.001
    losses = torch.tensor([3.0, 2.0, 1.0, 0.5])
    positive = torch.tensor([False, True, False, False])
    mask = mine_hard_examples(losses, boxes, positive)
    assert mask.tolist() == [True, False, True, True]


def _clusters(number, clusters, spread):
    """Boxes of which many lie within ``spread`` pixels of one another."""
    corners = torch.rand(clusters, 2) * 250
    boxes = torch.cat([corners, corners + 5 + torch.rand(clusters, 2) * 90], 1)
    boxes = boxes[torch.randint(clusters, (number,))]
    return boxes + torch.rand(number, 4) * spread


@pytest.mark.parametrize('iou', [0.9, 0.97, 0.99])
@pytest.mark.parametrize('clusters', [1, 7, 60, 400])
@pytest.mark.parametrize('spread', [0.0, 0.3, 2.0])
def test_near_duplicates_are_those_of_a_general_nms(clusters, spread, iou):
    torch.manual_seed(clusters)
    boxes = _clusters(500, clusters, spread)
    scores = torch.linspace(1, 0, len(boxes))
    _, kept = nms(boxes, scores, iou)
    found = near_nms(boxes, iou)
    assert found.nonzero().squeeze(1).tolist() == kept.tolist()


def test_a_box_that_is_dropped_drops_no_other():
    """A row of boxes, each of which covers the next one only."""
    row = torch.tensor([[0.0, 0, 100, 100]]).repeat(9, 1)
    row[:, 0::2] += 0.8 * torch.arange(9)[:, None]
    assert near_nms(row, 0.98).tolist() == [True, False] * 4 + [True]


@pytest.mark.parametrize('max_examples', [3000, 150])
def test_both_ways_of_suppression_mine_the_same(monkeypatch, max_examples):
    torch.manual_seed(0)
    boxes = _clusters(600, 200, 0.5)
    losses, positive = torch.rand(600) * 5, torch.rand(600) < 0.03
    options = dict(max_examples=max_examples)
    fast = mine_hard_examples(losses, boxes, positive, **options)
    monkeypatch.setattr(ssdlite_mining, 'NEAR_IOU', 2.0)
    plain = mine_hard_examples(losses, boxes, positive, **options)
    assert torch.equal(fast, plain) and 0 < fast.sum() < 100
