"""NASNet-A for phones (Zoph et al. 2017), "4 @ 1056": a row of Table 4.

A search found the cells; their stack is designed by hand::

    conv 3x3 /2 - reduction x2 - N normal - reduction - N normal
                - reduction - N normal - ReLU

A cell reads the outputs of the two cells before it, adds five pairs of
operations and concatenates the sums; a reduction cell halves the map.

No host has it. Differs from the TF code: no auxiliary classifier (in no count of
Table 4), no drop path (not used for phones), and odd kernels pad both sides alike
at any size (TF's SAME shifts the grid of even maps by one pixel).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from mnv2_mm.models.blocks import BN_DETECTION, ConvNormAct
from mnv2_mm.models.tapped_backbone import FeatureInfo, TappedBackbone, tap_names
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError


class Genotype(NamedTuple):
    """Five pairs of operations, each on a state of the cell; states returned."""

    pairs: tuple[tuple[str, int, str, int], ...]
    outputs: tuple[int, ...]


#: States 0 and 1 of a cell are the outputs of the cell before it and of the
#: one before that, fitted to its channels; state 2 is the first sum.
HERE, BEFORE = 0, 1
#: Figure 4 of the NASNet paper.
NORMAL = Genotype(
    pairs=(
        ('separable_5', HERE, 'separable_3', BEFORE),
        ('separable_5', BEFORE, 'separable_3', BEFORE),
        ('average_3', HERE, 'identity', BEFORE),
        ('average_3', BEFORE, 'average_3', BEFORE),
        ('separable_3', HERE, 'identity', HERE),
    ),
    outputs=(BEFORE, 2, 3, 4, 5, 6),
)
REDUCTION = Genotype(
    pairs=(
        ('separable_5', HERE, 'separable_7', BEFORE),
        ('max_3', HERE, 'separable_7', BEFORE),
        ('average_3', HERE, 'separable_5', BEFORE),
        ('identity', 3, 'average_3', 2),
        ('separable_3', 2, 'max_3', HERE),
    ),
    outputs=(3, 4, 5, 6),
)
#: The stem's two reduction cells have a quarter and half of the channels.
STEM_DIVISORS = (4, 2)
#: What ``frozen_stages`` counts: the stem and the stages of normal cells.
STAGES = ('stem', 'layer1', 'layer2', 'layer3')
#: Channels of the last map over those of a cell in the first stage.
GROWTH = len(NORMAL.outputs) * 2 ** (len(STAGES) - 2)


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


def operation(
    name: str, in_channels: int, channels: int, stride: int, norm_cfg: dict
) -> nn.Module:
    """(B, C, H, W) -> (B, C', H/stride, W/stride), rounded up."""
    kind, _, size = name.partition('_')
    if kind == 'average':
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    if kind == 'max':
        return nn.MaxPool2d(3, stride, 1)
    if kind == 'identity':
        return nn.Identity()
    # ReLU, depthwise, pointwise, norm; twice, of which the first strides
    layers: list[nn.Module] = []
    kernel = int(size)
    for c, step in ((in_channels, stride), (channels, 1)):
        layers += [
            nn.ReLU(),
            nn.Conv2d(c, c, kernel, step, kernel // 2, groups=c, bias=False),
            ConvNormAct(c, channels, 1, norm_cfg=norm_cfg, act_cfg=None),
        ]
    return nn.Sequential(*layers)


class FactorizedReduction(nn.Module):
    """Halve a map: half of the channels from even pixels, half from odd ones."""

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
        here: FeatureInfo,
        before: FeatureInfo | None,
        stride: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.genotype = genotype
        pairs = genotype.pairs
        self.out = FeatureInfo(channels * len(genotype.outputs), here.stride * stride)
        self.fit_here = conv_1x1(here.channels, channels, norm_cfg)
        widths = [channels] * (2 + len(pairs))
        self.fit_before: nn.Module = nn.Identity()
        if before is None:
            widths[BEFORE] = here.channels
        elif before.stride != here.stride:
            self.fit_before = FactorizedReduction(before.channels, channels, norm_cfg)
        elif before.channels != channels:
            self.fit_before = conv_1x1(before.channels, channels, norm_cfg)

        def make(name: str, state: int) -> nn.Module:
            step = stride if state in (HERE, BEFORE) else 1
            return operation(name, widths[state], channels, step, norm_cfg)

        self.left = nn.ModuleList(make(name, i) for name, i, _, _ in pairs)
        self.right = nn.ModuleList(make(name, j) for _, _, name, j in pairs)

    def forward(self, here: Tensor, before: Tensor) -> Tensor:
        """Both (B, C, H, W), ``before`` up to twice as large -> (B, C', H', W')."""
        states = [self.fit_here(here), self.fit_before(before)]
        operations = zip(self.genotype.pairs, self.left, self.right, strict=True)
        for (_, i, _, j), left, right in operations:
            states.append(left(states[i]) + right(states[j]))
        return torch.cat([states[i] for i in self.genotype.outputs], dim=1)


@MODELS.register_module()
@checked_arguments
class NASNetA(TappedBackbone):
    """NASNet-A (N @ penultimate channels).

    Args:
        num_repeats: N, normal cells in each of the three stages.
        penultimate_channels: Channels of the last map, 24 times those of a
            cell in the first stage.
        stem_channels: Channels of the first convolution.
        out_indices: The stages whose maps (after a ReLU) to return: 0, 1, 2
            end at strides 8, 16, 32.
        norm_cfg: Normalization layers; epsilon 1e-3, decay 0.9997 by default.
        **kwargs: ``frozen_stages`` (the stem has two reduction cells),
            ``norm_eval`` and ``init_cfg``, as in MobileNetV2.
    """

    stage_names = STAGES
    #: As in TF, but a grouped layer has the fan of a dense one.
    default_init: ClassVar[dict] = dict(type='Kaiming', layer='Conv2d', mode='fan_out')

    def __init__(
        self,
        num_repeats: int = 4,
        penultimate_channels: int = 1056,
        *,
        stem_channels: int = 32,
        out_indices: Sequence[int] = (2,),
        norm_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(num_repeats, int) or num_repeats < 1:
            raise InputError(
                f'num_repeats={num_repeats!r} must be a whole number of at least '
                '1; the published small network has 4'
            )
        divisor = GROWTH * max(STEM_DIVISORS)
        if penultimate_channels < divisor or penultimate_channels % divisor:
            raise InputError(
                f'penultimate_channels={penultimate_channels!r} must be a '
                f'multiple of {divisor}; the published small network has 1056'
            )
        self.taps = tap_names(out_indices, STAGES[1:])
        norm_cfg = norm_cfg or dict(BN_DETECTION)
        channels = penultimate_channels // GROWTH
        before: FeatureInfo | None = None
        here = FeatureInfo(stem_channels, 2)

        def cell(genotype: Genotype, channels: int, stride: int) -> Cell:
            nonlocal before, here
            made = Cell(genotype, channels, here, before, stride, norm_cfg)
            before, here = here, made.out
            return made

        stem = ConvNormAct(
            3, stem_channels, 3, stride=2, norm_cfg=norm_cfg, act_cfg=None
        )
        self.stem = nn.ModuleList(
            [stem, *(cell(REDUCTION, channels // d, 2) for d in STEM_DIVISORS)]
        )
        self.feature_info = {}
        for name in STAGES[1:]:
            cells = [] if name == 'layer1' else [cell(REDUCTION, channels, 2)]
            cells += [cell(NORMAL, channels, 1) for _ in range(num_repeats)]
            self.add_module(name, nn.ModuleList(cells))
            self.feature_info[name] = here
            channels *= 2
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the stages' maps, (B, C, H/stride, W/stride).

        The first convolution does not pad: 224 becomes 111, 56, 28, 14 and 7.
        """
        conv, *stem_cells = self.stem
        before = here = conv(x)
        for cell in stem_cells:
            before, here = here, cell(here, before)
        ends = {}
        for name in STAGES[1:]:
            for cell in getattr(self, name):
                before, here = here, cell(here, before)
            ends[name] = here
        return tuple(relu(ends[tap]) for tap in self.taps)
