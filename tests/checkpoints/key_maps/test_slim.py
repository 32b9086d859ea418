"""TF-slim's tensors in the order of mmdet's."""

import torch

from mnv2_mm.checkpoints.key_maps.slim import _slots


def test_background_moves_from_first_to_last():
    tf = torch.arange(2 * 4).float()  # two anchors: bg, a, b, c each
    key = 'bbox_head.cls_convs.0.weight'
    assert _slots(tf, key, 2, True).tolist() == [1, 2, 3, 0, 5, 6, 7, 4]
    weight = torch.rand(8, 5, 1, 1)
    moved = _slots(weight, key, 2, True)
    assert torch.equal(moved[3], weight[0]) and moved.shape == weight.shape
    assert torch.equal(_slots(weight, key, 2, False), weight)
