"""Inference of a block in parts of its expanded tensor (section 5.1).

Expansion, depthwise convolution and activations work channel by channel on
the expanded tensor, and the linear projection is a sum over its channels:

    F(x) = sum over i of (A_i . N . B_i)(x),  i = 1..t

with the expanded channels split into t groups. So each group can be expanded,
filtered and added to the sum before the next one begins, and the block needs
one t-th of the inner memory. The multiply-adds stay the same; the smaller
products use a processor less well. The paper finds t of 2 to 5 useful.

Batch norm is folded into the slices of the weights, so results agree with the
normal path up to rounding (1e-4 is tested), not bit by bit.
"""

import itertools
from typing import Literal

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.models.same_conv import SameConv2d
from mnv2_mm.utils.errors import InputError

ExpansionSplit = int | Literal['full']


def checked_split(split: object) -> ExpansionSplit:
    """Return ``split``; raise InputError unless it is 'full' or an int from 1."""
    whole = isinstance(split, int) and not isinstance(split, bool)
    if split == 'full' or (whole and split >= 1):
        return split
    raise InputError(
        f'expansion_split={split!r} cannot be used; give the number of parts '
        "(1 is off, the paper advises 2 to 5), or 'full' for one channel at "
        'a time'
    )


def split_bounds(channels: int, split: ExpansionSplit) -> list[int]:
    """Bounds of groups of channels of nearly equal size, at least one each.

    >>> split_bounds(16, 3)
    [0, 5, 10, 16]
    """
    parts = channels if split == 'full' else min(split, channels)
    return [channels * i // parts for i in range(parts + 1)]


def split_forward(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block in eval mode, group by group of its expanded channels.

    Args:
        block: An :class:`~mnv2_mm.models.blocks.InvertedResidual`.
        x: (B, C, H, W).

    Returns:
        (B, C', H/stride, W/stride).

    Raises:
        InputError: The normalization of the block is not batch norm.
    """
    out = None
    bounds = split_bounds(block.expanded_channels, block.expansion_split)
    project = block.linear_conv.conv.weight.flatten(1)  # (C', t*C)
    for start, end in itertools.pairwise(bounds):
        group = slice(start, end)
        if isinstance(block.expand_conv, nn.Identity):
            part = x[:, group]
        else:
            weight, bias = _folded(block.expand_conv, group)
            part = block.expand_conv.activate(F.conv2d(x, weight, bias))
        part = _depthwise(block.depthwise_conv, part, group)
        if out is None:
            batch, _, height, width = part.shape
            out = part.new_zeros(batch, len(project), height * width)
        # the 1x1 convolution as a product that adds in place
        out.baddbmm_(project[:, group].expand(batch, -1, -1), part.flatten(2))
    out = out.view(batch, -1, height, width)
    scale, shift = _scale_and_shift(block.linear_conv, slice(None))
    if scale is not None:
        out.mul_(scale.view(-1, 1, 1))
    if shift is not None:
        out.add_(shift.view(-1, 1, 1))
    return out.add_(x) if block.with_shortcut else out


def _depthwise(layer: ConvModule, part: Tensor, group: slice) -> Tensor:
    """The depthwise convolution of a group of channels."""
    weight, bias = _folded(layer, group)
    conv = layer.conv
    padding = conv.padding
    if isinstance(conv, SameConv2d):
        part, padding = conv.fitted(part)
    part = F.conv2d(
        part, weight, bias, conv.stride, padding, conv.dilation, groups=len(weight)
    )
    return layer.activate(part)


def _folded(layer: ConvModule, group: slice) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of some output channels, batch norm folded in."""
    weight = layer.conv.weight[group]
    scale, shift = _scale_and_shift(layer, group)
    if scale is not None:
        weight = weight * scale.view(-1, 1, 1, 1)
    return weight, shift


def _scale_and_shift(
    layer: ConvModule, group: slice
) -> tuple[Tensor | None, Tensor | None]:
    """Scale and shift of norm and bias, per channel; None where there is none."""
    norm, bias = layer.norm, layer.conv.bias
    bias = None if bias is None else bias[group]
    if norm is None or isinstance(norm, nn.Identity):  # a fused network
        return None, bias
    if not isinstance(norm, _BatchNorm) or norm.running_var is None:
        raise InputError(
            'expansion_split needs batch norm with running statistics, the '
            f'block has {type(norm).__name__}; set expansion_split=1'
        )
    scale = (norm.running_var[group] + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight[group]
    shift = -norm.running_mean[group] * scale
    if norm.affine:
        shift = shift + norm.bias[group]
    return scale, shift if bias is None else shift + bias * scale
