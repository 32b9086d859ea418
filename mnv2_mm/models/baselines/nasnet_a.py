"""NASNet-A for phones (Zoph et al. 2017), "4 @ 1056": a row of Table 4.

The cells are found by a search, their stack is made by hand::

    conv 3x3 /2 - reduction x2 - N normal - reduction - N normal
                - reduction - N normal - ReLU

No host has it. What differs from the TF code: there is no auxiliary
classifier (used in training only, and in no count of Table 4); for the rest
see :mod:`mnv2_mm.models.baselines.nasnet_cells`.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import relu

from mnv2_mm.models.baselines.nasnet_cells import (
    NORMAL,
    REDUCTION,
    Cell,
    Genotype,
    Source,
)
from mnv2_mm.models.blocks import BN_DETECTION, ConvNormAct
from mnv2_mm.models.tapped_backbone import TappedBackbone, check_taps
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.errors import InputError

#: The stem's two reduction cells have a quarter and half of the channels.
STEM_DIVISORS = (4, 2)
STAGES = 3
PARTS = ('stem', *(f'layer{i}' for i in range(1, STAGES + 1)))


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
        norm_cfg: Normalization layers; TF's (epsilon 1e-3, decay 0.9997) if
            None.
        frozen_stages: -1 freezes nothing, 0 the stem with its two reduction
            cells, n the stem and the first n stages; 3 is everything.
        norm_eval: Keep all BN statistics fixed while training.
        init_cfg: Initialization; a normal of variance 2 / fan out if None, as
            in TF but with the fan of a grouped layer that of a dense one.

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
            init_cfg=init_cfg or dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
        )
        _check(num_repeats, penultimate_channels, out_indices)
        self.out_indices = tuple(out_indices)
        norm_cfg = norm_cfg or dict(BN_DETECTION)
        channels = penultimate_channels // (len(NORMAL.outputs) * 2 ** (STAGES - 1))
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
                ConvNormAct(3, stem_channels, 3, 2, norm_cfg=norm_cfg, act_cfg=None),
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
