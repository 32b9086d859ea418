"""ResNet as DeepLabv3 uses it: the last two rows of Table 7.

TF's ``resnet_v1_101_beta``: the 7x7 stem is three 3x3 convolutions of 64, 64
and 128 channels, a stage strides in its last unit instead of its first, and
the three units of the last stage have their own rates ("multi-grid"). The
table's 58.16M parameters and 81.0B multiply-adds need all three. mmseg's
ResNetV1c has an option for the stem only: its stages stride first, have one rate
each, and its multi-grid is not multiplied by the rate.
"""

from collections.abc import Sequence
from typing import Any

from mmseg.models.backbones import ResNetV1c
from torch import nn

from mnv2_mm.models.tapped_backbone import FeatureInfo, StridePlan, tap_names
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError

#: Batch norm of the DeepLab code for ResNets: decay 0.95.
BN_RESNET = dict(type='BN', eps=1e-5, momentum=0.05)
STAGES = ('layer1', 'layer2', 'layer3', 'layer4')
#: Strides of the last units of the stages.
STRIDES = (2, 2, 2, 1)
DEPTHS = (50, 101, 152)


@MODELS.register_module()
@checked_arguments
class DeepLabResNet(ResNetV1c):
    """ResNet with TF's strides and rates.

    Args:
        depth: 50, 101 or 152.
        out_indices: The stages whose maps to return; 3 is the last.
        output_stride: 32, 16 or 8: input size over the size of the last map.
        multi_grid: Rates of the units of the last stage, in multiples of the
            rate that the output stride gives the stage.
        norm_cfg: Normalization layers; DeepLab's by default.
        **kwargs: The rest of mmseg's ResNet (``frozen_stages``,
            ``norm_eval``, ``with_cp``, ``init_cfg``).

    ``out_channels`` and ``out_strides`` are those of the returned maps.
    """

    def __init__(
        self,
        depth: int = 101,
        out_indices: Sequence[int] = (3,),
        *,
        output_stride: int = 16,
        multi_grid: Sequence[int] = (1, 2, 4),
        norm_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if depth not in DEPTHS:
            raise InputError(f'depth={depth!r} is not offered; use one of {DEPTHS}')
        if (
            not isinstance(multi_grid, Sequence)
            or [isinstance(rate, int) and rate > 0 for rate in multi_grid] != [True] * 3
        ):
            raise InputError(
                f'multi_grid={multi_grid!r} must be three whole numbers of at '
                'least 1, one for each unit of the last stage, such as (1, 2, 4)'
            )
        taps = tap_names(out_indices, STAGES)
        plan = StridePlan(output_stride)
        for _ in ('stem', 'pool'):
            plan.next(2)
        super().__init__(
            depth=depth,
            out_indices=tuple(out_indices),
            strides=(1, 1, 1, 1),
            stem_channels=128,
            norm_cfg=norm_cfg or dict(BN_RESNET),
            zero_init_residual=False,
            **kwargs,
        )
        self.feature_info: dict[str, FeatureInfo] = {}
        for name, stage_stride in zip(STAGES, STRIDES, strict=True):
            *units, last = getattr(self, name)
            grid = multi_grid if name == STAGES[-1] else (1,) * (len(units) + 1)
            for unit, factor in zip((*units, last), grid, strict=True):
                stride, rate = plan.next(stage_stride if unit is last else 1)
                unit.conv2.stride = stride, stride
                unit.conv2.dilation = unit.conv2.padding = (rate * factor,) * 2
            if stride > 1:
                # the channels agree: every second pixel, unchanged
                last.downsample = nn.MaxPool2d(1, stride)
            channels = last.conv3.out_channels
            self.feature_info[name] = FeatureInfo(channels, plan.stride)
        outputs = [self.feature_info[tap] for tap in taps]
        self.out_channels = tuple(info.channels for info in outputs)
        self.out_strides = tuple(info.stride for info in outputs)

    def train(self, mode: bool = True) -> 'DeepLabResNet':
        """Set the mode as the base class does, and return the module."""
        super().train(mode)
        return self
