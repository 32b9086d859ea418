"""MobileNetV1 (Howard et al. 2017), the first row of Tables 4 and 7.

A 3x3 convolution and thirteen depthwise-separable pairs: depthwise 3x3 and
pointwise 1x1, each with batch norm and ReLU6, no shortcuts. None of the
hosts has it. Names, rounding, rates and batch norm are those of TF-slim's
``mobilenet_v1``, on which the paper's SSDLite (Table 6) and DeepLab
(Table 7) rows stand. What differs from TF-slim: the padding is PyTorch's
unless asked otherwise, and the logits are left to the host's head.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from mnv2_mm.models.blocks import (
    BN_DETECTION,
    ConvNormAct,
    Padding,
    depthwise,
    padding_conv_cfg,
    truncated_normal,
)
from mnv2_mm.models.tapped_backbone import (
    StridePlan,
    TappedBackbone,
    check_taps,
    check_width,
)
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.errors import InputError


class Row(NamedTuple):
    """Pairs of one resolution; the first one strides."""

    channels: int
    repeats: int
    stride: int


#: Table 1 of the MobileNetV1 paper. TF counts the stem as Conv2d_0 and the
#: pairs as Conv2d_1 to Conv2d_13.
TABLE_1 = (
    Row(64, 1, 1),
    Row(128, 2, 2),
    Row(256, 2, 2),
    Row(512, 6, 2),
    Row(1024, 2, 2),
)
STEM_CHANNELS = 32
#: TF's ``min_depth``.
MIN_CHANNELS = 8
LAST_LAYER = sum(row.repeats for row in TABLE_1)  # 13
#: TF layer number of the last pair of each stage: 1, 3, 5, 11, 13.
STAGE_ENDS = tuple(
    sum(row.repeats for row in TABLE_1[: i + 1]) for i in range(len(TABLE_1))
)
#: What ``frozen_stages`` counts: the stem and the five stages.
PARTS = ('conv1', *(f'layer{i}' for i in range(1, len(TABLE_1) + 1)))


def parse_tap(tap: int | str) -> tuple[int, bool]:
    """Return the TF layer number of a tap and whether it is a depthwise.

    >>> parse_tap('Conv2d_11_pointwise'), parse_tap(4)
    ((11, False), (13, False))
    """
    if isinstance(tap, int) and 0 <= tap < len(STAGE_ENDS):
        return STAGE_ENDS[tap], False
    if tap == 'Conv2d_0':
        return 0, False
    match = re.fullmatch(r'Conv2d_(\d+)_(pointwise|depthwise)', str(tap))
    if match and 1 <= int(match[1]) <= LAST_LAYER:
        return int(match[1]), match[2] == 'depthwise'
    raise InputError(
        f'out_indices: the tap {tap!r} does not exist; use a stage index '
        f"0..{len(STAGE_ENDS) - 1}, 'Conv2d_0', 'Conv2d_1_pointwise'.."
        f"'Conv2d_{LAST_LAYER}_pointwise' or the same with '_depthwise'"
    )


@MODELS.register_module()
class MobileNetV1(TappedBackbone):
    """MobileNetV1 with named taps.

    Args:
        widen_factor: Width multiplier. TF-slim truncates to an integer here,
            without V2's rounding to 8, and keeps at least 8 channels.
        out_indices: The maps to return, in this order: stage indices (0..4
            end at strides 2 to 32) and TF end-point names
            (``'Conv2d_11_pointwise'``) can be mixed.
        output_stride: 32, 16 or 8: input size over the size of the last
            map. Below 32 the later pairs are dilated instead.
        padding: ``'symmetric'`` (PyTorch) or ``'same'`` (TensorFlow), see
            :func:`~mnv2_mm.models.blocks.padding_conv_cfg`.
        norm_cfg: Normalization layers; V1's scope in TF-slim (epsilon 1e-3,
            decay 0.9997) if None.
        act_cfg: Activation; ReLU6 if None.
        frozen_stages: -1 freezes nothing, 0 the stem, n the stem and the
            first n stages: parameters and BN statistics; 5 is everything.
        norm_eval: Keep all BN statistics fixed while training.
        init_cfg: Initialization; TF's truncated normal of standard deviation
            0.09 if None.

    Attributes:
        out_channels: Channels of each returned map.
        out_strides: Input size over map size of each returned map.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int | str] = (4,),
        *,
        output_stride: int = 32,
        padding: Padding = 'symmetric',
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            PARTS,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            init_cfg=init_cfg or truncated_normal(0.09, layer='Conv2d'),
        )
        check_width(widen_factor, published='0.25 0.5 0.75 1.0')
        check_taps(out_indices, example="(4,) or ('Conv2d_13_pointwise',)")
        self.taps = tuple(parse_tap(tap) for tap in out_indices)
        common = dict(
            conv_cfg=padding_conv_cfg(padding),
            norm_cfg=norm_cfg or dict(BN_DETECTION),
            act_cfg=act_cfg or dict(type='ReLU6'),
        )
        # (channels, stride) of every end point, by (layer, is depthwise)
        facts: dict[tuple[int, bool], tuple[int, int]] = {}
        deepest = max(layer for layer, _ in self.taps)

        def width(channels: int) -> int:
            return max(int(channels * widen_factor), MIN_CHANNELS)

        plan = StridePlan(output_stride)
        stride, _ = plan.next(2)
        channels = width(STEM_CHANNELS)
        self.conv1 = ConvNormAct(3, channels, 3, stride=stride, padding=1, **common)
        layer = 0
        facts[layer, False] = channels, plan.stride
        self.stages: list[str] = []
        for name, row in zip(PARTS[1:], TABLE_1, strict=True):
            pairs = []
            for repeat in range(min(row.repeats, deepest - layer)):
                layer += 1
                stride, rate = plan.next(row.stride if not repeat else 1)
                first = depthwise(channels, stride=stride, dilation=rate, **common)
                facts[layer, True] = channels, plan.stride
                second = ConvNormAct(channels, width(row.channels), 1, **common)
                channels = width(row.channels)
                facts[layer, False] = channels, plan.stride
                pairs.append(
                    nn.Sequential(
                        OrderedDict(depthwise_conv=first, pointwise_conv=second)
                    )
                )
            if pairs:
                self.stages.append(name)
                self.add_module(name, nn.Sequential(*pairs))
        self.out_channels = tuple(facts[tap][0] for tap in self.taps)
        self.out_strides = tuple(facts[tap][1] for tap in self.taps)
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the tapped maps, (B, C, H/stride, W/stride)."""
        wanted = set(self.taps)
        found: dict[tuple[int, bool], Tensor] = {}
        layer = 0
        x = self.conv1(x)
        if (layer, False) in wanted:
            found[layer, False] = x
        for stage in self.stages:
            for pair in getattr(self, stage):
                layer += 1
                x = pair.depthwise_conv(x)
                if (layer, True) in wanted:
                    found[layer, True] = x
                x = pair.pointwise_conv(x)
                if (layer, False) in wanted:
                    found[layer, False] = x
        return tuple(found[tap] for tap in self.taps)
