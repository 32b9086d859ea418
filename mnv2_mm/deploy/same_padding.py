"""Export TensorFlow's SAME padding.

For a fixed input size the padding is constant, and :mod:`mnv2_mm.deploy.graph`
folds it into the convolutions. For a dynamic size it is computed in the graph.
"""

import torch
import torch.nn.functional as F
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import is_dynamic_shape
from torch import Tensor, nn

from mnv2_mm.models.same_conv import same_pads


@FUNCTION_REWRITER.register_rewriter('mnv2_mm.models.same_conv.SameConv2d.forward')
def same_conv_forward(self: nn.Module, x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C', H/stride, W/stride), rounded up."""
    dynamic = is_dynamic_shape(FUNCTION_REWRITER.get_context().cfg)
    pads = []
    for axis in (1, 0):  # F.pad begins with the last axis
        side = x.shape[2 + axis]
        rule = dict(
            kernel=self.kernel_size[axis],
            stride=self.stride[axis],
            dilation=self.dilation[axis],
        )
        if rule['stride'] == 1:
            pads += same_pads(1, **rule)  # the same for every side
        elif dynamic and isinstance(side, Tensor):
            pads += _pads_in_graph(side, **rule)
        else:
            pads += same_pads(int(side), **rule)
    if any(isinstance(pad, Tensor) or pad for pad in pads):
        x = F.pad(x, pads)
    return F.conv2d(
        x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
    )


def _pads_in_graph(
    side: Tensor, *, kernel: int, stride: int, dilation: int
) -> tuple[Tensor, Tensor]:
    """:func:`mnv2_mm.models.same_conv.same_pads`, for a side of the input."""
    steps = torch.div(side - 1, stride, rounding_mode='trunc')
    reach = (kernel - 1) * dilation + 1
    total = (steps * stride + reach - side).clamp(min=0)
    before = torch.div(total, 2, rounding_mode='trunc')
    return before, total - before
