"""ReLU6 that works in place in training too.

torch's ``ReLU6(inplace=True)`` keeps a copy of its input for the backward
pass, which holds every map twice. The output is enough to find where the
gradient is zero, and the next convolution keeps it anyway.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


class ReLU6(nn.ReLU6):
    """Clip to [0, 6], in place by default; same values and gradients."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__(inplace)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        gradient = x.requires_grad and torch.is_grad_enabled()
        if self.inplace and gradient and not torch.jit.is_tracing():
            return _ReLU6InPlace.apply(x)
        return F.relu6(x, self.inplace)


class _ReLU6InPlace(torch.autograd.Function):
    """Clip in place; compute the gradient from the output."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        x.clamp_(0, 6)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        # zero where the output is 0 or 6, as for an input outside of [0, 6]
        return torch.ops.aten.hardtanh_backward(gradient, output, 0, 6)
