"""NASNet-A for phones (Zoph et al. 2017), "4 @ 1056": a row of Table 4.

Cells found by a search, stacked by hand. A cell looks at the outputs of the
two cells before it, adds five pairs of operations and concatenates the sums;
a reduction cell halves the map, a normal one keeps it::

    conv 3x3 /2 - reduction x2 - N normal - reduction - N normal
                - reduction - N normal - ReLU

No host has it. What differs from the TF code: odd kernels pad evenly at any
size (TF's SAME lets the grid of even maps lie one pixel further; the counts
agree), there is no auxiliary classifier (used in training only, and in no
count of Table 4), and no drop path, which this size of the network does not
use either.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from mnv2_mm.errors import InputError
from mnv2_mm.models.layers import BN_DETECTION, ConvNormAct
from mnv2_mm.models.tapped_backbone import TappedBackbone, check_taps
from mnv2_mm.registry import MODELS


class Pair(NamedTuple):
    """Two operations, each on one state of the cell, whose sum is kept."""

    left: str
    left_state: int
    right: str
    right_state: int


class Genotype(NamedTuple):
    """What the search found: five pairs, and the states that go out."""

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
#: The stem's two reduction cells have a quarter and half of the channels.
STEM_DIVISORS = (4, 2)
STAGES = 3
PARTS = ('stem', *(f'layer{i}' for i in range(1, STAGES + 1)))


class Source(NamedTuple):
    """Channels and stride of what a cell reads."""

    channels: int
    stride: int


def conv_1x1(in_channels: int, channels: int, norm_cfg: dict) -> ConvNormAct:
    """ReLU, 1x1 convolution, norm: the order of all layers of NASNet."""
    return ConvNormAct(
        in_channels,
        channels,
        1,
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
                inputs,
                inputs,
                kernel,
                stride=step,
                padding=kernel // 2,
                groups=inputs,
                bias=False,
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

    ReLU, then two 1x1 convolutions of half the channels on every second
    pixel, one of them from the first and the other from the second pixel;
    concatenated, normalised.
    """

    def __init__(
        self, in_channels: int, channels: int, norm_cfg: dict
    ) -> None:
        super().__init__()
        half = channels // 2
        self.even = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(
            in_channels, channels - half, 1, stride=2, bias=False
        )
        self.norm = MODELS.build(dict(norm_cfg, num_features=channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/2, W/2), rounded up."""
        x = relu(x)
        shifted = pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))


class Cell(nn.Module):
    """One cell: fit the two inputs, add five pairs, concatenate.

    Args:
        genotype: The pairs of operations.
        channels: Channels of every operation.
        here: The output of the cell before this one.
        before: The output of the one before that; None in the first cell,
            which takes the stem's map twice, the second time as it is.
        stride: 2 in a reduction cell.
        norm_cfg: Normalisation layers.
    """

    def __init__(
        self,
        genotype: Genotype,
        channels: int,
        *,
        here: Source,
        before: Source | None,
        stride: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.out = Source(
            channels * len(genotype.outputs), here.stride * stride
        )
        self.fit_here = conv_1x1(here.channels, channels, norm_cfg)
        widths = [channels] * (2 + len(genotype.pairs))
        if before is None:
            self.fit_before: nn.Module = nn.Identity()
            widths[BEFORE] = here.channels
        elif before.stride != here.stride:
            self.fit_before = FactorizedReduction(
                before.channels, channels, norm_cfg
            )
        elif before.channels != channels:
            self.fit_before = conv_1x1(before.channels, channels, norm_cfg)
        else:
            self.fit_before = nn.Identity()

        def build(name: str, state: int) -> nn.Module:
            step = stride if state in (HERE, BEFORE) else 1
            return operation(name, widths[state], channels, step, norm_cfg)

        self.left = nn.ModuleList(
            build(pair.left, pair.left_state) for pair in genotype.pairs
        )
        self.right = nn.ModuleList(
            build(pair.right, pair.right_state) for pair in genotype.pairs
        )

    def forward(self, here: Tensor, before: Tensor) -> Tensor:
        """Both (B, C, H, W), ``before`` up to twice as large -> the sums."""
        states = [self.fit_here(here), self.fit_before(before)]
        for pair, left, right in zip(
            self.genotype.pairs, self.left, self.right, strict=True
        ):
            states.append(
                left(states[pair.left_state]) + right(states[pair.right_state])
            )
        return torch.cat([states[i] for i in self.genotype.outputs], dim=1)


@MODELS.register_module()
class NASNetA(TappedBackbone):
    """NASNet-A (N @ penultimate channels).

    Args:
        num_repeats: N, normal cells in each of the three stages.
        penultimate_channels: Channels of the last map, 24 times those of a
            cell in the first stage.
        stem_channels: Channels of the first convolution.
        out_indices: The stages whose maps (after a ReLU) to return: 0, 1, 2
            end at strides 8, 16, 32.
        norm_cfg: Normalisation layers; TF's (epsilon 1e-3, decay 0.9997) if
            None.
        frozen_stages: -1 freezes nothing, 0 the stem with its two reduction
            cells, n the stem and the first n stages; 3 is everything.
        norm_eval: Keep all BN statistics fixed while training.
        init_cfg: Initialisation; TF's normal of variance 2 / fan out if None.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(
        self,
        num_repeats: int = 4,
        penultimate_channels: int = 1056,
        *,
        stem_channels: int = 32,
        out_indices: Sequence[int] = (STAGES - 1,),
        norm_cfg: dict | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            PARTS,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            init_cfg=init_cfg
            or dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
        )
        _check(num_repeats, penultimate_channels, out_indices)
        self.out_indices = tuple(out_indices)
        norm_cfg = norm_cfg or dict(BN_DETECTION)
        channels = penultimate_channels // (
            len(NORMAL.outputs) * 2 ** (STAGES - 1)
        )
        before: Source | None = None
        here = Source(stem_channels, 2)

        def cell(genotype: Genotype, channels: int, stride: int) -> Cell:
            nonlocal before, here
            built = Cell(
                genotype,
                channels,
                here=here,
                before=before,
                stride=stride,
                norm_cfg=norm_cfg,
            )
            before, here = here, built.out
            return built

        self.stem = nn.ModuleList(
            [
                ConvNormAct(
                    3, stem_channels, 3, 2, norm_cfg=norm_cfg, act_cfg=None
                ),
                *(cell(REDUCTION, channels // d, 2) for d in STEM_DIVISORS),
            ]
        )
        ends = []
        for index, name in enumerate(PARTS[1:]):
            cells = [cell(REDUCTION, channels, 2)] if index else []
            cells += [cell(NORMAL, channels, 1) for _ in range(num_repeats)]
            self.add_module(name, nn.ModuleList(cells))
            ends.append(here)
            channels *= 2
        self.out_channels = tuple(ends[i].channels for i in self.out_indices)
        self.out_strides = tuple(ends[i].stride for i in self.out_indices)
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the stages' maps, (B, C, H/stride, W/stride).

        The first convolution does not pad: a side of 224 becomes 111, 56,
        28, 14 and 7.
        """
        conv, *stem_cells = self.stem
        before = here = conv(x)
        for cell in stem_cells:
            before, here = here, cell(here, before)
        ends = []
        for name in PARTS[1:]:
            for cell in getattr(self, name):
                before, here = here, cell(here, before)
            ends.append(here)
        return tuple(relu(ends[i]) for i in self.out_indices)


def _check(
    num_repeats: int, penultimate_channels: int, out_indices: Sequence[int]
) -> None:
    """Raise InputError if one of them is out of its range."""
    if not isinstance(num_repeats, int) or num_repeats < 1:
        raise InputError(
            f'num_repeats={num_repeats!r} must be a whole number of at least '
            '1; the published small network has 4'
        )
    divisor = len(NORMAL.outputs) * 2 ** (STAGES - 1) * max(STEM_DIVISORS)
    if penultimate_channels < divisor or penultimate_channels % divisor:
        raise InputError(
            f'penultimate_channels={penultimate_channels!r} must be a '
            f'multiple of {divisor}; the published small network has 1056'
        )
    check_taps(out_indices, example='(2,) or (1, 2)')
    for index in out_indices:
        if index not in range(STAGES):
            raise InputError(
                f'out_indices={tuple(out_indices)!r}: there is no stage '
                f'{index!r}; use 0..{STAGES - 1}'
            )
