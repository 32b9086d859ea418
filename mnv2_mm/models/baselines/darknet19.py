"""Darknet-19, the backbone of YOLOv2 (Table 6, row YOLOv2).

"YOLO9000: Better, Faster, Stronger" (Redmon and Farhadi, 2016), Table 6,
without the 1x1 classifier: 18 convolutions and five max poolings. 3x3
convolutions double the channels after each pooling, 1x1 convolutions between
them compress; each has batch norm and a leaky ReLU. mmdet has Darknet-53
(YOLOv3) only, which strides by convolutions and adds shortcuts.
"""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mnv2_mm.models.blocks import ConvNormAct
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
#: Darknet's rolling average keeps 0.99. Its epsilon is 1e-5 inside of the root
#: on a GPU, as in PyTorch (on a CPU, 1e-6 added to the deviation).
BN_DARKNET = dict(type='BN', eps=1e-5, momentum=0.01)
LEAKY_RELU = dict(type='LeakyReLU', negative_slope=0.1)
#: Darknet draws weights with a deviation of sqrt(2 / inputs).
DARKNET_INIT = dict(type='Kaiming', layer='Conv2d', mode='fan_in')


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
        init_cfg: Initialization; Darknet's by default.

    Attributes:
        out_channels: Channels of each returned map.
        out_strides: Input size over map size of each returned map.
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
        common = dict(
            norm_cfg=norm_cfg or dict(BN_DARKNET), act_cfg=act_cfg or dict(LEAKY_RELU)
        )
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
        """(B, 3, H, W) -> the tapped maps, (B, C, H/stride, W/stride).

        Raises:
            InputError: H or W is no multiple of the largest stride; the
                poolings would silently drop the last rows or columns.
        """
        height, width = x.shape[-2:]
        stride = 2 ** (len(self.stages) - 1)
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
