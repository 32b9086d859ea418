"""NASNet-A for phones (Zoph et al. 2017), "4 @ 1056": a row of Table 4.

A search found the cells; their stack is designed by hand::

    conv 3x3 /2 - reduction x2 - N normal - reduction - N normal
                - reduction - N normal - ReLU

No host has it. Differs from the TF code: no auxiliary classifier (used in
training only, and in no count of Table 4); for the rest see
:mod:`mnv2_mm.models.baselines.nasnet_cells`.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import relu

from mnv2_mm.models.baselines.nasnet_cells import NORMAL, REDUCTION, Cell, Genotype
from mnv2_mm.models.blocks import BN_DETECTION, ConvNormAct
from mnv2_mm.models.tapped_backbone import FeatureInfo, TappedBackbone, tap_names
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError

#: The stem's two reduction cells have a quarter and half of the channels.
STEM_DIVISORS = (4, 2)
#: What ``frozen_stages`` counts: the stem and the stages of normal cells.
STAGES = ('stem', 'layer1', 'layer2', 'layer3')
#: Channels of the last map over those of a cell in the first stage.
GROWTH = len(NORMAL.outputs) * 2 ** (len(STAGES) - 2)


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
        norm_cfg: Normalization layers; TF's (epsilon 1e-3, decay 0.9997) if
            None.
        frozen_stages: As in MobileNetV2; the stem has two reduction cells.
        norm_eval: As in MobileNetV2.
        init_cfg: Initialization; a normal of variance 2 / fan out if None, as
            in TF, but a grouped layer has the fan of a dense one.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(
        self,
        num_repeats: int = 4,
        penultimate_channels: int = 1056,
        *,
        stem_channels: int = 32,
        out_indices: Sequence[int] = (2,),
        norm_cfg: dict | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            STAGES,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            init_cfg=init_cfg or dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
        )
        _check(num_repeats, penultimate_channels)
        self.taps = tap_names(out_indices, STAGES[1:])
        norm_cfg = norm_cfg or dict(BN_DETECTION)
        channels = penultimate_channels // GROWTH
        before: FeatureInfo | None = None
        here = FeatureInfo(stem_channels, 2)

        def cell(genotype: Genotype, channels: int, stride: int) -> Cell:
            nonlocal before, here
            sizes = dict(here=here, before=before, stride=stride)
            made = Cell(genotype, channels, **sizes, norm_cfg=norm_cfg)
            before, here = here, made.out
            return made

        self.stem = nn.ModuleList(
            [
                ConvNormAct(
                    3, stem_channels, 3, stride=2, norm_cfg=norm_cfg, act_cfg=None
                ),
                *(cell(REDUCTION, channels // d, 2) for d in STEM_DIVISORS),
            ]
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

        The first convolution does not pad: a side of 224 becomes 111, 56,
        28, 14 and 7.
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


def _check(num_repeats: int, penultimate_channels: int) -> None:
    """Raise InputError for a value out of range."""
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
