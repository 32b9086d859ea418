"""Inference of a block in parts of its expanded tensor (section 5.1).

Expansion, depthwise convolution and activations work channel by channel on
the expanded tensor, and the linear projection is a sum over its channels:

    F(x) = sum over i of (A_i . N . B_i)(x),  i = 1..t

with the expanded channels split into t groups, one after the other. So the block
needs one t-th of the inner memory. The multiply-adds stay the same; the smaller
products use a processor less well. Batch norm is folded into the slices of the
weights: results agree up to rounding (1e-4 is tested).
"""

import itertools
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from mnv2_mm.models.same_conv import SameConv2d
from mnv2_mm.utils.errors import InputError

ExpansionSplit = int | Literal['full']


def checked_split(split: Any) -> ExpansionSplit:
    """Return ``split``; raise InputError unless it is 'full' or an int from 1."""
    if split == 'full' or (type(split) is int and split >= 1):
        return split
    raise InputError(
        f'expansion_split={split!r} cannot be used; give the number of parts (1 is '
        "off, the paper advises 2 to 5), or 'full' for one channel at a time"
    )


def split_bounds(channels: int, split: ExpansionSplit) -> list[int]:
    """Bounds of groups of channels of nearly equal size, at least one each.

    >>> split_bounds(16, 3)
    [0, 5, 10, 16]
    """
    parts = channels if split == 'full' else min(split, channels)
    return [channels * i // parts for i in range(parts + 1)]


def split_forward(block: Any, x: Tensor) -> Tensor:
    """Run an InvertedResidual in eval mode, group by group of its expansion.

    (B, C, H, W) -> (B, C', H/stride, W/stride). Raises InputError if a
    normalization is not batch norm.
    """
    out: Tensor | None = None
    bounds = split_bounds(block.expanded_channels, block.expansion_split)
    weight, shift = _folded(block.linear_conv)
    project = weight.flatten(1)  # (C', t*C)
    for start, end in itertools.pairwise(bounds):
        group = slice(start, end)
        if isinstance(block.expand_conv, nn.Identity):
            part = x[:, group]
        else:
            part = F.conv2d(x, *_folded(block.expand_conv, group))
            part = block.expand_conv.activate(part)
        part = _depthwise(block.depthwise_conv, part, group)
        batch, _, height, width = part.shape
        if out is None:
            out = part.new_zeros(batch, len(project), height * width)
        # the 1x1 convolution as a product that adds in place
        out.baddbmm_(project[:, group].expand(batch, -1, -1), part.flatten(2))
    assert out is not None  # there is at least one group
    out = out.view(batch, -1, height, width)
    if shift is not None:
        out.add_(shift.view(-1, 1, 1))
    return out.add_(x) if block.with_shortcut else out


def _depthwise(layer: Any, part: Tensor, group: slice) -> Tensor:
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


def _folded(layer: Any, group: slice = slice(None)) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of some output channels, batch norm folded in."""
    conv, norm = layer.conv, layer.norm
    weight = conv.weight[group]
    bias = None if conv.bias is None else conv.bias[group]
    if norm is None or isinstance(norm, nn.Identity):  # a fused network
        return weight, bias
    if not getattr(norm, 'track_running_stats', False):
        raise InputError(
            'expansion_split needs batch norm with running statistics, the '
            f'block has {type(norm).__name__}; set expansion_split=1'
        )
    scale = (norm.running_var[group] + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight[group]
    shift = ((0 if bias is None else bias) - norm.running_mean[group]) * scale
    if norm.affine:
        shift = shift + norm.bias[group]
    return weight * scale.view(-1, 1, 1, 1), shift
