"""ResNet as DeepLabv3 uses it: the last pair of rows of Table 7.

TF's ``resnet_v1_101_beta``: the 7x7 stem is three 3x3 convolutions of 64, 64
and 128 channels, a stage strides in its last unit instead of its first, and
the three units of the last stage have rates of their own ("multi-grid").
Only so do parameters and multiply-adds come out as the table's 58.16M and
81.0B.

The layers are mmseg's ResNetV1c. Of what differs it has an option for the
stem only: its stages stride first, have one rate each, and its multi-grid
is not multiplied by the rate. Normalization is TF's and no unit starts as
the identity.
"""

from collections.abc import Sequence

from mmseg.models.backbones import ResNetV1c
from torch import nn

from mnv2_mm.models.tapped_backbone import StridePlan
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.errors import InputError

#: Batch norm of the DeepLab code for ResNets: decay 0.95.
BN_RESNET = dict(type='BN', eps=1e-5, momentum=0.05)
#: Of the last unit of each stage.
STRIDES = (2, 2, 2, 1)
DEPTHS = (50, 101, 152)


@MODELS.register_module()
class DeepLabResNet(ResNetV1c):
    """ResNet with TF's strides and rates.

    Args:
        depth: 50, 101 or 152.
        out_indices: The stages whose maps to return; 3 is the last.
        output_stride: 32, 16 or 8: input size over the size of the last map.
        multi_grid: Rates of the units of the last stage, in multiples of the
            rate that the output stride gives the stage.
        stem_channels: Channels of the third convolution; the first two have
            half of them.
        norm_cfg: Normalization layers; DeepLab's if None.
        kwargs: The rest of mmseg's ResNet (``frozen_stages``,
            ``norm_eval``, ``with_cp``, ``init_cfg``).

    Attributes:
        out_channels: Channels of each returned map.
        out_strides: Input size over map size of each returned map.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(
        self,
        depth: int = 101,
        out_indices: Sequence[int] = (3,),
        *,
        output_stride: int = 16,
        multi_grid: Sequence[int] = (1, 2, 4),
        stem_channels: int = 128,
        norm_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        _check(depth, out_indices, multi_grid)
        self._plan = StridePlan(output_stride)
        for _ in ('stem', 'pool'):
            self._plan.next(2)
        self._facts: list[tuple[int, int]] = []  # channels, stride of a stage
        super().__init__(
            depth=depth,
            out_indices=tuple(out_indices),
            strides=STRIDES,
            multi_grid=tuple(multi_grid),
            stem_channels=stem_channels,
            norm_cfg=norm_cfg or dict(BN_RESNET),
            zero_init_residual=False,
            **kwargs,
        )
        self.out_channels = tuple(self._facts[i][0] for i in out_indices)
        self.out_strides = tuple(self._facts[i][1] for i in out_indices)

    def make_res_layer(
        self,
        *,
        block: type[nn.Module],
        inplanes: int,
        planes: int,
        num_blocks: int,
        stride: int,
        multi_grid: Sequence[int] | None,
        **kwargs,
    ) -> nn.Sequential:
        """Build a stage; the base class asks for one after the other.

        The shortcut of a unit that strides takes every second pixel as it
        is, since the channels already agree there.
        """
        channels = planes * block.expansion
        grid = multi_grid or (1,) * num_blocks
        steps = [self._plan.next(1) for _ in range(num_blocks - 1)]
        steps.append(self._plan.next(stride))
        rates = [rate * factor for (_, rate), factor in zip(steps, grid, strict=True)]
        kwargs.update(block=block, planes=planes)
        stage = super().make_res_layer(
            inplanes=inplanes,
            num_blocks=num_blocks - 1,
            stride=1,
            multi_grid=rates[:-1],
            **kwargs,
        )
        step = steps[-1][0]
        (last,) = super().make_res_layer(
            inplanes=channels,
            num_blocks=1,
            stride=step,
            multi_grid=rates[-1:],
            **kwargs,
        )
        if step > 1:
            last.downsample = nn.MaxPool2d(1, step)
        stage.append(last)
        self._facts.append((channels, self._plan.stride))
        return stage

    def train(self, mode: bool = True) -> 'DeepLabResNet':
        """Set the mode as the base class does, and return the module."""
        super().train(mode)
        return self


def _check(depth: int, out_indices: Sequence[int], multi_grid: Sequence[int]) -> None:
    """Raise InputError if one of them is out of its range."""
    if depth not in DEPTHS:
        raise InputError(f'depth={depth!r} is not offered; use one of {DEPTHS}')
    if (
        isinstance(out_indices, int)
        or not len(out_indices)
        or any(index not in range(len(STRIDES)) for index in out_indices)
    ):
        raise InputError(
            f'out_indices={out_indices!r} must be a non-empty sequence of '
            f'stages 0..{len(STRIDES) - 1}, for example (3,)'
        )
    if (
        not isinstance(multi_grid, Sequence)
        or len(multi_grid) != 3
        or any(not isinstance(rate, int) or rate < 1 for rate in multi_grid)
    ):
        raise InputError(
            f'multi_grid={multi_grid!r} must be three whole numbers of at '
            'least 1, one for each unit of the last stage, such as (1, 2, 4)'
        )
