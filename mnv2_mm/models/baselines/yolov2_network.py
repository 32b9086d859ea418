"""Darknet-19 and the neck of YOLOv2 (Table 6, row YOLOv2).

Backbone: "YOLO9000: Better, Faster, Stronger" (Redmon and Farhadi, 2016), Table
6, without the 1x1 classifier: 18 convolutions, each with batch norm and a leaky
ReLU, and five max poolings. mmdet has Darknet-53 (YOLOv3) only.

Neck: section 2, "Fine-Grained Features", and ``yolov2.cfg``: the 26x26 map is
reorganized, 2x2 pixels into four times the channels, and concatenated with the
13x13 map. Two networks are called YOLOv2. The released one first compresses the
26x26 map to 64 channels (50.96M parameters and 14.73 billion multiply-adds with
80 classes); the earlier one, whose multiply-adds Table 6 has, does not (67.45M,
17.50 billion).

Channels are in the order of :func:`torch.pixel_unshuffle`. Darknet's ``reorg``
has another order and also mixes positions (it reads 64x26x26 values as 16x52x52):
weights trained by Darknet would need its order.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mnv2_mm.models.blocks import ConvNormAct
from mnv2_mm.models.checks import check_channels
from mnv2_mm.models.tapped_backbone import tap_names
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError

#: Output channels of the convolutions of each stage, 3x3 and 1x1 in turn.
#: A 2x2 max pooling stands before every stage but the first.
STAGES = (
    (32,),
    (64,),
    (128, 64, 128),
    (256, 128, 256),
    (512, 256, 512, 256, 512),
    (1024, 512, 1024, 512, 1024),
)
#: Side of the pixel blocks that become channels in the neck.
BLOCK = 2
#: Darknet's rolling average keeps 0.99. Its epsilon is 1e-5 inside of the root
#: on a GPU, as in PyTorch (on a CPU, 1e-6 added to the deviation).
BN_DARKNET = dict(type='BN', eps=1e-5, momentum=0.01)
#: Darknet draws weights with a deviation of sqrt(2 / inputs).
DARKNET_INIT = dict(type='Kaiming', layer='Conv2d', mode='fan_in')


def darknet_layers(norm_cfg: dict | None, act_cfg: dict | None) -> dict:
    """Layer arguments, with Darknet's defaults."""
    return dict(
        norm_cfg=norm_cfg or dict(BN_DARKNET),
        act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1),
    )


@MODELS.register_module()
@checked_arguments
class Darknet19(BaseModule):
    """Darknet-19 with one tap per stage.

    Args:
        out_indices: Stages whose last map is returned, in this order: 0 to
            5, with strides 1, 2, 4, 8, 16, 32 and 32, 64, 128, 256, 512,
            1024 channels. YOLOv2 takes the last two.
        norm_cfg: Normalization layers; Darknet's by default.
        act_cfg: Activation; a leaky ReLU of slope 0.1 by default.
        init_cfg: Darknet's by default.

    ``out_channels`` and ``out_strides`` are those of the returned maps.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (4, 5),
        *,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(DARKNET_INIT))
        tap_names(out_indices, [f'stages.{i}' for i in range(len(STAGES))])
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(STAGES[i][-1] for i in self.out_indices)
        self.out_strides = tuple(2**i for i in self.out_indices)
        common = darknet_layers(norm_cfg, act_cfg)
        self.stages = nn.ModuleList()
        channels = 3
        for index, widths in enumerate(STAGES[: max(self.out_indices) + 1]):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if index else []
            for place, width in enumerate(widths):
                kernel = 1 if place % 2 else 3
                layers.append(
                    ConvNormAct(channels, width, kernel, padding=kernel // 2, **common)
                )
                channels = width
            self.stages.append(nn.Sequential(*layers))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the tapped maps, (B, C, H/stride, W/stride)."""
        height, width = x.shape[-2:]
        stride = 2 ** (len(self.stages) - 1)
        # the poolings would silently drop the last rows or columns
        if height % stride or width % stride:
            raise InputError(
                f'Darknet19 got images of {width}x{height} (width x '
                f'height); both must be multiples of {stride}: set '
                f'model.data_preprocessor.pad_size_divisor={stride}'
            )
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs[index] for index in self.out_indices)


@MODELS.register_module()
@checked_arguments
class YOLOv2Neck(BaseModule):
    """Concatenate the maps of strides 16 and 32 at stride 32.

    Args:
        in_channels: Channels of the maps of strides 16 and 32.
        channels: Channels of the three 3x3 convolutions and of the result.
        passthrough_channels: Channels of the 1x1 convolution before the
            reorganization; None leaves it out (the earlier network).
        norm_cfg: As in Darknet19.
        act_cfg: As in Darknet19.
        init_cfg: As in Darknet19.

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
        common = darknet_layers(norm_cfg, act_cfg)
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
        joined = BLOCK**2 * (passthrough_channels or fine) + channels
        self.fusion = ConvNormAct(joined, channels, 3, padding=1, **common)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Maps (B, C, H/16, W/16), (B, C, H/32, W/32) -> (B, C, H/32, W/32)."""
        check_channels(self, 'neck', inputs)
        fine, coarse = inputs
        if list(fine.shape[-2:]) != [BLOCK * side for side in coarse.shape[-2:]]:
            raise InputError(
                f'YOLOv2Neck got maps of {tuple(fine.shape[-2:])} and '
                f'{tuple(coarse.shape[-2:])} cells; the first must be twice the '
                'second: sides of images must be multiples of 32'
            )
        fine = F.pixel_unshuffle(self.passthrough(fine), BLOCK)
        return (self.fusion(torch.cat([fine, self.convs(coarse)], dim=1)),)
