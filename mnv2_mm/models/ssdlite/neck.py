"""SSDLite's extra levels (section 6.2), as in TF's feature-map generator.

Four more maps follow layer_19, each made by a 1x1 to half its depth and a
stride-2 3x3. SSDLite splits the 3x3 into depthwise and pointwise; plain SSD
(Table 5) does not. mmdet's SSDNeck has the same structure but symmetric padding
only.
"""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mnv2_mm.models.blocks import (
    BN_DETECTION,
    ConvNormAct,
    Padding,
    depthwise,
    layer_cfgs,
    truncated_normal,
)
from mnv2_mm.models.checks import check_channels
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments

#: Depths of the extra levels at width 1.0.
EXTRA_CHANNELS = (512, 256, 256, 128)
#: TF's ``min_depth`` of the detection extractors.
MIN_CHANNELS = 16


@MODELS.register_module()
@checked_arguments
class SSDLiteNeck(BaseModule):
    """Return the backbone's maps and the extra levels.

    Args:
        in_channels: Channels of the backbone's maps, (576, 1280) at width 1.0.
        extra_channels: Depths of the extra levels at width 1.0.
        widen_factor: Width multiplier of the depths; truncated as in TF,
            without rounding to 8, at least 16.
        use_depthwise: False gives plain SSD's full 3x3 (Table 5).
        padding: As the backbone's.
        norm_cfg: As in SSDLiteHead.
        act_cfg: ReLU6 by default.
        init_cfg: As in SSDLiteHead.

    ``out_channels`` of all levels is the head's ``in_channels``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        extra_channels: Sequence[int] = EXTRA_CHANNELS,
        *,
        widen_factor: float = 1.0,
        use_depthwise: bool = True,
        padding: Padding = 'symmetric',
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or truncated_normal(0.03, layer='Conv2d'))
        common = layer_cfgs(padding, norm_cfg or BN_DETECTION, act_cfg)
        self.in_channels = tuple(in_channels)
        depths = [max(int(c * widen_factor), MIN_CHANNELS) for c in extra_channels]
        self.out_channels = (*self.in_channels, *depths)
        self.extra_layers = nn.ModuleList()
        channels = self.in_channels[-1]
        for depth in depths:
            middle = max(depth // 2, MIN_CHANNELS)
            layers = [ConvNormAct(channels, middle, 1, **common)]
            if use_depthwise:
                layers.append(depthwise(middle, stride=2, **common))
                layers.append(ConvNormAct(middle, depth, 1, **common))
            else:
                layers.append(
                    ConvNormAct(middle, depth, 3, stride=2, padding=1, **common)
                )
            self.extra_layers.append(nn.Sequential(*layers))
            channels = depth

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (B, C, H/16, W/16), (B, C, H/32, W/32) -> all levels."""
        check_channels(self, 'neck', inputs)
        outputs = list(inputs)
        for layer in self.extra_layers:
            outputs.append(layer(outputs[-1]))
        return tuple(outputs)
