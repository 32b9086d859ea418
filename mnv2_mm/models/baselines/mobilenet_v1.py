"""MobileNetV1 (Howard et al. 2017), the first row of Tables 4 and 7.

A 3x3 convolution and thirteen depthwise-separable pairs, each layer with batch
norm and ReLU6, no shortcuts. No host has it. Names, rounding, rates and batch
norm are those of TF-slim's ``mobilenet_v1``; the default padding is PyTorch's.

TF counts the stem as Conv2d_0 and the pairs as Conv2d_1 to Conv2d_13.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mnv2_mm.models.blocks import (
    BN_DETECTION,
    ConvNormAct,
    Padding,
    depthwise,
    layer_cfgs,
    truncated_normal,
)
from mnv2_mm.models.tapped_backbone import (
    FeatureInfo,
    StridePlan,
    TappedBackbone,
    check_width,
    tap_names,
)
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments

#: Table 1 of the MobileNetV1 paper: channels, pairs, stride of the first pair.
TABLE_1 = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
STEM_CHANNELS = 32
#: TF's ``min_depth``.
MIN_CHANNELS = 8
LAST_LAYER = 13
#: What ``frozen_stages`` counts: the stem and the rows of Table 1.
STAGES = ('conv1', *(f'layer{i}' for i in range(1, 6)))
#: The end points that stage indices 0 to 4 stand for.
STAGE_ENDS = tuple(f'Conv2d_{n}_pointwise' for n in (1, 3, 5, 11, LAST_LAYER))
#: Number of the layer that computes each end point.
END_POINTS = {'Conv2d_0': 0} | {
    f'Conv2d_{n}_{kind}': n
    for n in range(1, LAST_LAYER + 1)
    for kind in ('depthwise', 'pointwise')
}


@MODELS.register_module()
@checked_arguments
class MobileNetV1(TappedBackbone):
    """MobileNetV1 with named taps.

    Args:
        widen_factor: Width multiplier; truncated as in TF-slim, without V2's
            rounding to 8, at least 8 channels.
        out_indices: The maps to return, in this order: stage indices (0..4
            end at strides 2 to 32) and TF end-point names
            (``'Conv2d_11_pointwise'``) can be mixed.
        norm_cfg: Normalization layers; V1's scope in TF-slim by default.

    The other arguments and the attributes are those of MobileNetV2.
    """

    stage_names = STAGES
    default_init = truncated_normal(0.09, layer='Conv2d')

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int | str] = (4,),
        *,
        output_stride: int = 32,
        padding: Padding = 'symmetric',
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_width(widen_factor, published='0.25 0.5 0.75 1.0')
        self.taps = tap_names(
            out_indices,
            STAGE_ENDS,
            END_POINTS,
            known=f"'Conv2d_0', 'Conv2d_1_pointwise'..'{STAGE_ENDS[-1]}' or the "
            "same with '_depthwise'",
        )
        layer_cfg = layer_cfgs(padding, norm_cfg or BN_DETECTION, act_cfg)
        plan = StridePlan(output_stride)
        deepest = max(END_POINTS[tap] for tap in self.taps)

        def width(channels: int) -> int:
            return max(int(channels * widen_factor), MIN_CHANNELS)

        stride, _ = plan.next(2)
        channels = width(STEM_CHANNELS)
        self.conv1 = ConvNormAct(3, channels, 3, stride=stride, padding=1, **layer_cfg)
        layer = 0
        self.feature_info = {'Conv2d_0': FeatureInfo(channels, plan.stride)}
        self.stages: list[str] = []
        for stage, row in zip(STAGES[1:], TABLE_1, strict=True):
            base_channels, repeats, first_stride = row
            out_channels = width(base_channels)
            pairs = []
            for repeat in range(min(repeats, deepest - layer)):
                layer += 1
                stride, rate = plan.next(1 if repeat else first_stride)
                pair: OrderedDict[str, nn.Module] = OrderedDict(
                    depthwise_conv=depthwise(
                        channels, stride=stride, dilation=rate, **layer_cfg
                    ),
                    pointwise_conv=ConvNormAct(channels, out_channels, 1, **layer_cfg),
                )
                pairs.append(nn.Sequential(pair))
                self.feature_info |= {
                    f'Conv2d_{layer}_depthwise': FeatureInfo(channels, plan.stride),
                    f'Conv2d_{layer}_pointwise': FeatureInfo(out_channels, plan.stride),
                }
                channels = out_channels
            if pairs:
                self.stages.append(stage)
                self.add_module(stage, nn.Sequential(*pairs))
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the tapped maps, (B, C, H/stride, W/stride)."""
        found: dict[str, Tensor] = {}
        x = self.conv1(x)
        if 'Conv2d_0' in self.taps:
            found['Conv2d_0'] = x
        pairs = (pair for stage in self.stages for pair in getattr(self, stage))
        for layer, pair in enumerate(pairs, start=1):
            for kind in ('depthwise', 'pointwise'):
                x = getattr(pair, f'{kind}_conv')(x)
                if (name := f'Conv2d_{layer}_{kind}') in self.taps:
                    found[name] = x
        return tuple(found[tap] for tap in self.taps)
