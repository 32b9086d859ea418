"""YOLOv2's neck: two convolutions and the passthrough (Table 6).

"YOLO9000", section 2, "Fine-Grained Features", and ``yolov2.cfg``: the 26x26
map is reorganized, 2x2 pixels into four times the channels, and concatenated
with the 13x13 map. Two networks are called YOLOv2. The released one first
compresses the 26x26 map to 64 channels by a 1x1 (50.96M parameters and 14.73
billion multiply-adds with 80 classes); the earlier one does not (67.45M, 17.50
billion). Table 6 has the multiply-adds of the earlier one.

Channels are in the order of :func:`torch.pixel_unshuffle`: input channel first,
then row and column within the 2x2 pixels. Darknet's ``reorg`` has another order
and also mixes positions: it reads the 64x26x26 values as 16x52x52. Counts and
training are the same, but weights trained by Darknet would need its order.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mnv2_mm.models.baselines.darknet19 import BN_DARKNET, DARKNET_INIT, LEAKY_RELU
from mnv2_mm.models.blocks import ConvNormAct
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError

#: Side of the pixel blocks that become channels.
BLOCK = 2


@MODELS.register_module()
@checked_arguments
class YOLOv2Neck(BaseModule):
    """Concatenate the maps of strides 16 and 32 at stride 32.

    Args:
        in_channels: Channels of the maps of strides 16 and 32.
        channels: Channels of the three 3x3 convolutions and of the result.
        passthrough_channels: Channels of the 1x1 convolution before the
            reorganization; None leaves it out (the earlier network).
        norm_cfg: Normalization layers; Darknet's by default.
        act_cfg: Activation; a leaky ReLU of slope 0.1 by default.
        init_cfg: Initialization; Darknet's by default.

    Attributes:
        out_channels: Channels of the one map, the head's ``in_channels``.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024),
        channels: int = 1024,
        *,
        passthrough_channels: int | None = 64,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(DARKNET_INIT))
        if len(in_channels) != 2:
            raise InputError(
                f'YOLOv2Neck has in_channels={tuple(in_channels)}; give two, '
                'of the maps of strides 16 and 32, for example (512, 1024)'
            )
        common = dict(
            norm_cfg=norm_cfg or dict(BN_DARKNET), act_cfg=act_cfg or dict(LEAKY_RELU)
        )
        self.in_channels = tuple(in_channels)
        self.out_channels = (channels,)
        fine, coarse = self.in_channels
        self.convs = nn.Sequential(
            ConvNormAct(coarse, channels, 3, padding=1, **common),
            ConvNormAct(channels, channels, 3, padding=1, **common),
        )
        self.passthrough = (
            nn.Identity()
            if passthrough_channels is None
            else ConvNormAct(fine, passthrough_channels, 1, **common)
        )
        reorganized = BLOCK**2 * (passthrough_channels or fine)
        self.fusion = ConvNormAct(
            reorganized + channels, channels, 3, padding=1, **common
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Maps (B, C, H/16, W/16), (B, C, H/32, W/32) -> (B, C, H/32, W/32)."""
        channels = tuple(x.shape[1] for x in inputs)
        if channels != self.in_channels:
            raise InputError(
                f'YOLOv2Neck has in_channels={self.in_channels}, the '
                f'backbone gives {channels}; set model.neck.in_channels='
                f'{channels}'
            )
        fine, coarse = inputs
        if list(fine.shape[-2:]) != [BLOCK * side for side in coarse.shape[-2:]]:
            raise InputError(
                f'YOLOv2Neck got maps of {tuple(fine.shape[-2:])} and '
                f'{tuple(coarse.shape[-2:])} cells; the first must be twice '
                'the second, as with images whose sides are multiples of 32'
            )
        fine = F.pixel_unshuffle(self.passthrough(fine), BLOCK)
        return (self.fusion(torch.cat([fine, self.convs(coarse)], dim=1)),)
