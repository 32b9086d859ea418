"""TensorFlow's SAME padding in an exported graph.

The convolution computes the padding with Python numbers, which tracing
freezes. For a fixed input size that is right, and the ``Pad`` nodes go into
the convolutions afterwards (:mod:`mnv2_mm.deploy.graph`). For a dynamic size
the padding is computed in the graph.
"""

import torch
import torch.nn.functional as F
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import is_dynamic_shape
from torch import Tensor, nn


@FUNCTION_REWRITER.register_rewriter(
    'mnv2_mm.models.same_conv.SameConv2d.forward'
)
def adaptive_padding_forward(self: nn.Module, x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C', H/stride, W/stride), rounded up."""
    ctx = FUNCTION_REWRITER.get_context()
    dynamic = is_dynamic_shape(ctx.cfg)
    pads = []
    for axis in (1, 0):  # F.pad begins with the last axis
        side, stride = x.shape[2 + axis], self.stride[axis]
        reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
        total = _total(side if dynamic else int(side), stride, reach)
        if isinstance(total, Tensor):
            before = torch.div(total, 2, rounding_mode='trunc')
        else:
            before = total // 2
        pads += [before, total - before]
    if any(isinstance(pad, Tensor) or pad for pad in pads):
        x = F.pad(x, pads)
    return F.conv2d(
        x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
    )


def _total(side: int | Tensor, stride: int, reach: int) -> int | Tensor:
    """Padding of both sides together, TensorFlow's rule for SAME."""
    if stride == 1:
        return reach - 1
    if isinstance(side, Tensor):
        steps = torch.div(side - 1, stride, rounding_mode='trunc')
        return (steps * stride + reach - side).clamp(min=0)
    return max((side - 1) // stride * stride + reach - side, 0)
