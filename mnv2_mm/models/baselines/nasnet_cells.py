"""The cells of NASNet-A (Zoph et al. 2017), found by a search.

A cell reads the outputs of the two cells before it, adds five pairs of
operations and concatenates the sums; a reduction cell halves the map, a normal
one keeps its size. Differs from the TF code: odd kernels pad both sides alike
at any size (TF's SAME shifts the grid of even maps by one pixel; the counts
agree), and there is no drop path, which the network for phones does not use.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mnv2_mm.models.blocks import ConvNormAct
from mnv2_mm.models.tapped_backbone import FeatureInfo


class Pair(NamedTuple):
    """Two operations, each on one state of the cell, whose sum is kept."""

    left: str
    left_state: int
    right: str
    right_state: int


class Genotype(NamedTuple):
    """What the search found: five pairs, and the states that are returned."""

    pairs: tuple[Pair, ...]
    outputs: tuple[int, ...]


#: States 0 and 1 of a cell are the outputs of the cell before it and of the
#: one before that, fitted to its channels; state 2 is the first sum.
HERE, BEFORE = 0, 1
#: Figure 4 of the NASNet paper.
NORMAL = Genotype(
    pairs=(
        Pair('separable_5', HERE, 'separable_3', BEFORE),
        Pair('separable_5', BEFORE, 'separable_3', BEFORE),
        Pair('average_3', HERE, 'identity', BEFORE),
        Pair('average_3', BEFORE, 'average_3', BEFORE),
        Pair('separable_3', HERE, 'identity', HERE),
    ),
    outputs=(BEFORE, 2, 3, 4, 5, 6),
)
REDUCTION = Genotype(
    pairs=(
        Pair('separable_5', HERE, 'separable_7', BEFORE),
        Pair('max_3', HERE, 'separable_7', BEFORE),
        Pair('average_3', HERE, 'separable_5', BEFORE),
        Pair('identity', 3, 'average_3', 2),
        Pair('separable_3', 2, 'max_3', HERE),
    ),
    outputs=(3, 4, 5, 6),
)


def conv_1x1(
    in_channels: int, channels: int, norm_cfg: dict, *, groups: int = 1
) -> ConvNormAct:
    """ReLU, 1x1 convolution, norm: the order of all layers of NASNet."""
    return ConvNormAct(
        in_channels,
        channels,
        1,
        groups=groups,
        norm_cfg=norm_cfg,
        act_cfg=dict(type='ReLU'),
        inplace=False,  # other branches read the same map
        order=('act', 'conv', 'norm'),
    )


def separable(
    in_channels: int, channels: int, kernel: int, stride: int, norm_cfg: dict
) -> nn.Sequential:
    """ReLU, depthwise, pointwise, norm; twice, of which the first strides."""
    layers: list[nn.Module] = []
    for inputs, step in ((in_channels, stride), (channels, 1)):
        layers += [
            nn.ReLU(),
            nn.Conv2d(
                inputs, inputs, kernel, step, kernel // 2, groups=inputs, bias=False
            ),
            ConvNormAct(inputs, channels, 1, norm_cfg=norm_cfg, act_cfg=None),
        ]
    return nn.Sequential(*layers)


def operation(
    name: str, in_channels: int, channels: int, stride: int, norm_cfg: dict
) -> nn.Module:
    """(B, C, H, W) -> (B, C', H/stride, W/stride), rounded up."""
    kind, _, kernel = name.partition('_')
    if kind == 'separable':
        return separable(in_channels, channels, int(kernel), stride, norm_cfg)
    if kind == 'average':
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    if kind == 'max':
        return nn.MaxPool2d(3, stride, 1)
    return nn.Identity()


class FactorizedReduction(nn.Module):
    """Halve a map without losing the pixels in between.

    Half of the channels come from the even pixels of the even rows, the other
    half from the odd pixels of the odd rows, by a 1x1 convolution of two
    groups.
    """

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.conv = conv_1x1(2 * in_channels, channels, norm_cfg, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/2, W/2), rounded up."""
        even = x[:, :, ::2, ::2]
        odd = pad(x, (0, 1, 0, 1))[:, :, 1::2, 1::2]
        return self.conv(torch.cat([even, odd], dim=1))


class Cell(nn.Module):
    """One cell: fit the two inputs, add five pairs, concatenate.

    Args:
        genotype: The pairs of operations.
        channels: Channels of every operation.
        here: Size of the output of the cell before this one.
        before: Size of the output of the one before that; None in the first
            cell, which takes the stem's map twice, the second time unchanged.
        stride: 2 in a reduction cell.
        norm_cfg: Normalization layers.
    """

    def __init__(
        self,
        genotype: Genotype,
        channels: int,
        *,
        here: FeatureInfo,
        before: FeatureInfo | None,
        stride: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.out = FeatureInfo(channels * len(genotype.outputs), here.stride * stride)
        self.fit_here = conv_1x1(here.channels, channels, norm_cfg)
        widths = [channels] * (2 + len(genotype.pairs))
        if before is None:
            self.fit_before: nn.Module = nn.Identity()
            widths[BEFORE] = here.channels
        elif before.stride != here.stride:
            self.fit_before = FactorizedReduction(before.channels, channels, norm_cfg)
        elif before.channels != channels:
            self.fit_before = conv_1x1(before.channels, channels, norm_cfg)
        else:
            self.fit_before = nn.Identity()

        def make(name: str, state: int) -> nn.Module:
            step = stride if state in (HERE, BEFORE) else 1
            return operation(name, widths[state], channels, step, norm_cfg)

        pairs = genotype.pairs
        self.left = nn.ModuleList(make(p.left, p.left_state) for p in pairs)
        self.right = nn.ModuleList(make(p.right, p.right_state) for p in pairs)

    def forward(self, here: Tensor, before: Tensor) -> Tensor:
        """Both (B, C, H, W), ``before`` up to twice as large -> (B, C', H', W')."""
        states = [self.fit_here(here), self.fit_before(before)]
        operations = zip(self.genotype.pairs, self.left, self.right, strict=True)
        for (_, i, _, j), left, right in operations:
            states.append(left(states[i]) + right(states[j]))
        return torch.cat([states[i] for i in self.genotype.outputs], dim=1)
