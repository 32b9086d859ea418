"""TF-slim's tensors in the order of mmdet's."""

import torch

from mnv2_mm.checkpoints.key_maps.slim import background_to_last


def test_background_moves_from_first_to_last():
    tf = torch.arange(2 * 4).float()  # two anchors: bg, a, b, c each
    assert background_to_last(tf, 3).tolist() == [1, 2, 3, 0, 5, 6, 7, 4]
    weight = torch.rand(8, 5, 1, 1)
    moved = background_to_last(weight, 3)
    assert torch.equal(moved[3], weight[0]) and moved.shape == weight.shape
