"""The threshold that spares the NMS of a graph what cannot come out of it."""

import pytest
import torch

pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('mmdet.models')

from mnv2_mm.deploy.detection import select
from mnv2_mm.deploy.pre_nms_topk import least_of_best, pairs_before_nms


@pytest.mark.parametrize(
    ('anchors', 'classes', 'count'),
    [(2034, 80, 400), (2034, 80, 1000), (737, 1, 400), (30, 3, 400), (5, 1, 2)],
)
def test_enough_pairs_reach_it(anchors, classes, count):
    torch.manual_seed(0)
    scores = torch.rand(2, anchors, classes) ** 8
    scores[1] *= 0.01  # each image has its own
    least = least_of_best(scores, count)
    assert least.shape == (2, 1, 1)
    kept = (scores >= least).flatten(1).sum(1)
    assert (kept >= min(count, anchors)).all()
    if classes > 1 and anchors > count:
        assert (kept < 0.3 * anchors * classes).all()


def test_neighbours_are_in_different_groups():
    """A sky without objects must not have a group of its own."""
    scores = torch.full((1, 1000, 10), 1e-5)
    scores[0, 400:, 3] = 0.5  # further down in the image
    assert least_of_best(scores, 400).item() == 0.5


@pytest.mark.parametrize(
    ('test_cfg', 'pairs'),
    [
        (dict(nms_pre=1000, max_per_img=100), 400),
        (dict(nms_pre=300, max_per_img=100), 300),
        (dict(nms_pre=-1, max_per_img=100), -1),
        (dict(max_per_img=100), -1),
    ],
)
def test_nms_pre_is_the_limit(test_cfg, pairs):
    assert pairs_before_nms(test_cfg) == pairs


def test_detections_are_those_of_all_pairs():
    torch.manual_seed(0)
    corners = torch.rand(1, 600, 2) * 90
    boxes = torch.cat([corners, corners + 5 + torch.rand(1, 600, 2) * 9], -1)
    scores = torch.rand(1, 600, 4) ** 4
    rules = dict(iou=0.3, score=1e-8, keep=50, dynamic=False)
    wanted = select(boxes, scores, **rules)
    kept = scores >= least_of_best(scores, 200)
    assert kept.sum() < 0.5 * kept.numel()
    found = select(boxes, scores * kept, **rules)
    assert (wanted[0][..., 4] > 0).all()
    for first, second in zip(wanted, found, strict=True):
        assert torch.equal(first, second)
