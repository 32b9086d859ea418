"""What the backbones of this package share: strides, taps, freezing.

TF-slim turns strides into atrous rates by one rule for every network of the
paper (MobileNetV1, MobileNetV2, ResNet): :class:`StridePlan`. mmseg's
``strides`` and ``dilations`` cannot express it, since a stage has one rate
there. Freezing covers BN statistics, also of the stem, and ``train()`` returns
the module; not every host does so.
"""

from collections.abc import Container, Sequence
from typing import NamedTuple

from mmengine.model import BaseModule
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.utils.errors import InputError

OUTPUT_STRIDES = (32, 16, 8)


class FeatureInfo(NamedTuple):
    """Channels of a map, and input size over map size."""

    channels: int
    stride: int


class StridePlan:
    """TF's rule of how strides turn into atrous rates.

    Once the running stride equals ``output_stride`` every further stride
    becomes 1. The layer that would have strided keeps the rate so far, and
    the rate of the layers *after* it is multiplied.

    Raises:
        InputError: The output stride is not 32, 16 or 8.
    """

    def __init__(self, output_stride: int) -> None:
        if output_stride not in OUTPUT_STRIDES:
            raise InputError(
                f'output_stride={output_stride!r} is not offered; use 32, 16 or 8'
            )
        self.output_stride = output_stride
        self.stride = 1
        self.rate = 1

    def next(self, stride: int) -> tuple[int, int]:
        """Return (stride, dilation) of the next layer and step past it."""
        if self.stride < self.output_stride:
            self.stride *= stride
            return stride, 1
        dilation, self.rate = self.rate, self.rate * stride
        return 1, dilation


def check_width(widen_factor: float, published: str) -> None:
    """Raise InputError unless it is a positive number."""
    if not isinstance(widen_factor, int | float) or not (
        0 < widen_factor < float('inf')
    ):
        raise InputError(
            f'widen_factor={widen_factor!r} is no width; use a positive '
            f'number, published ones are {published}'
        )


def tap_names(
    out_indices: Sequence[int | str],
    stage_ends: Sequence[str],
    end_points: Container[str] = (),
    *,
    known: str = '',
) -> tuple[str, ...]:
    """Names of the end points that ``out_indices`` asks for.

    Args:
        out_indices: Stage indices and names, mixed.
        stage_ends: Name of the end point of each stage index.
        end_points: All names; none where only stages can be tapped.
        known: The names, as a message lists them.

    Raises:
        InputError: It is no sequence, is empty, or has an unknown tap.
    """
    offered = f'a stage index 0..{len(stage_ends) - 1}' + (known and f', {known}')
    if isinstance(out_indices, str | int) or not len(out_indices):
        raise InputError(
            f'out_indices={out_indices!r} must be a non-empty sequence of taps, '
            f'each {offered}'
        )
    names = []
    for tap in out_indices:
        if isinstance(tap, int) and 0 <= tap < len(stage_ends):
            names.append(stage_ends[tap])
        elif (name := str(tap).removesuffix('/output')) in end_points:
            names.append(name)
        else:
            raise InputError(
                f'out_indices: the tap {tap!r} does not exist; use {offered}'
            )
    return tuple(names)


class TappedBackbone(BaseModule):
    """A backbone that returns the maps asked for and can be frozen.

    Args:
        stages: Names of the stem and of the stages, in order.
        frozen_stages: -1 freezes nothing, 0 the stem, n the stem and the
            first n stages: parameters and BN statistics.
        norm_eval: Keep all BN statistics fixed while training.
        init_cfg: As in mmengine.

    Attributes:
        taps: Names of the end points to return.
        feature_info: Channels and stride of each end point, by name.
    """

    taps: tuple[str, ...]
    feature_info: dict[str, FeatureInfo]

    def __init__(
        self,
        stages: Sequence[str],
        *,
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(init_cfg)
        if frozen_stages not in range(-1, len(stages)):
            raise InputError(
                f'frozen_stages={frozen_stages!r} is out of range; use -1 '
                f'(none), 0 (stem) to {len(stages) - 1} (everything)'
            )
        self.frozen_stages = frozen_stages
        self._stage_names = tuple(stages)
        self.norm_eval = norm_eval

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each returned map."""
        return tuple(self.feature_info[tap].channels for tap in self.taps)

    @property
    def out_strides(self) -> tuple[int, ...]:
        """Input size over map size of each returned map."""
        return tuple(self.feature_info[tap].stride for tap in self.taps)

    def train(self, mode: bool = True) -> 'TappedBackbone':
        """Set the mode; frozen stages and ``norm_eval`` keep theirs."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        for name in self._stage_names[: self.frozen_stages + 1]:
            module = getattr(self, name, None)  # may not be built
            if module is not None:
                module.eval()
                module.requires_grad_(False)
