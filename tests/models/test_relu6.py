"""ReLU6 in place, against torch's."""

import pytest
import torch
from torch import nn

from mnv2_mm.models.blocks import ConvNormAct, ReLU6


@pytest.mark.parametrize('inplace', [True, False])
def test_values_and_gradients_are_torchs(inplace):
    values = torch.tensor([-3.0, -0.0, 0.0, 1e-30, 2.0, 6.0, 6.5])
    results = []
    for module in (nn.ReLU6(), ReLU6(inplace)):
        x = values.clone().requires_grad_()
        out = module(x * 1)
        (out * torch.arange(1.0, 8)).sum().backward()
        results.append((out.detach(), x.grad))
    for expected, found in zip(*results, strict=True):
        assert torch.equal(expected, found)


def test_no_copy_is_kept_for_the_backward_pass():
    x = torch.rand(4, requires_grad=True) * 8
    out = ReLU6()(x)
    assert out.data_ptr() == x.data_ptr()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda x: x):
        ReLU6()(torch.rand(4, requires_grad=True) * 8)
    clipped = [k for k in kept if k.dim()]
    assert len(clipped) == 1 and clipped[0].max() <= 6


def test_the_layers_use_it():
    layer = ConvNormAct(3, 4, 1, act_cfg=dict(type='ReLU6'))
    assert type(layer.activate) is ReLU6 and layer.activate.inplace
    assert type(ConvNormAct(3, 4, 1).activate) is nn.ReLU
    assert not hasattr(ConvNormAct(3, 4, 1, act_cfg=None), 'activate')
