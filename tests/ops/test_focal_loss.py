"""The sigmoid focal loss: mmcv has it for CUDA only, so mmdet's is the reference."""

import pytest
import torch

from mnv2_mm import ops

mmdet_losses = pytest.importorskip('mmdet.models.losses.focal_loss')


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (1.5, 0.4)])
@pytest.mark.parametrize('weighted', [False, True])
def test_loss_and_gradient_are_those_of_mmdet(gamma, alpha, weighted):
    torch.manual_seed(0)
    logits = (torch.randn(300, 7) * 8).requires_grad_()
    target = torch.randint(0, 7 if weighted else 8, (300,))
    weight = torch.rand(7) if weighted else torch.empty(0)
    expected = mmdet_losses.py_sigmoid_focal_loss(
        logits,
        torch.nn.functional.one_hot(target, 8)[:, :7],
        weight=weight[target] if weighted else None,
        gamma=gamma,
        alpha=alpha,
        reduction='none',
    )
    (slope,) = torch.autograd.grad(expected.sum(), logits)
    loss, back = torch.zeros(300, 7), torch.zeros(300, 7)
    arguments = (logits.detach(), target, weight)
    ops.sigmoid_focal_loss_forward(*arguments, loss, gamma=gamma, alpha=alpha)
    ops.sigmoid_focal_loss_backward(*arguments, back, gamma=gamma, alpha=alpha)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(back, slope, rtol=1e-5, atol=2e-6)
