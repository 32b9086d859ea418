"""What the backbones of this package share: strides, taps, freezing.

mmseg's ``strides`` and ``dilations`` cannot express TF-slim's atrous rates, since
a stage has one rate there. Freezing covers BN statistics, also of the stem, and
``train()`` returns the module; not every host does so.
"""

import math
from collections.abc import Container, Sequence
from typing import ClassVar, NamedTuple

from mmengine.model import BaseModule
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.utils.errors import InputError


class FeatureInfo(NamedTuple):
    """Channels of a map, and input size over map size."""

    channels: int
    stride: int


class StridePlan:
    """TF's rule of how strides turn into atrous rates, for every network.

    Once the running stride equals ``output_stride`` (32, 16 or 8) every
    further stride becomes 1. The layer that would have strided keeps the rate
    so far, and the rate of the layers *after* it is multiplied.
    """

    def __init__(self, output_stride: int) -> None:
        if output_stride not in (32, 16, 8):
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
    if not isinstance(widen_factor, int | float) or not 0 < widen_factor < math.inf:
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

    ``stage_ends`` has the name of each stage index, ``end_points`` all names
    that can be given instead; ``known`` lists them in an error.
    """
    offered = f'a stage index 0..{len(stage_ends) - 1}' + (known and f', {known}')
    several = isinstance(out_indices, Sequence) and not isinstance(out_indices, str)
    if not several or not len(out_indices):
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
            raise InputError(f'out_indices: the tap {tap!r} is unknown; use {offered}')
    return tuple(names)


class TappedBackbone(BaseModule):
    """A backbone that returns the maps asked for and can be frozen.

    Args:
        frozen_stages: As in MobileNetV2.
        norm_eval: As in MobileNetV2.
        init_cfg: As in mmengine; the default is the subclass's.
    """

    #: Names of the stem and of the stages, in order.
    stage_names: ClassVar[tuple[str, ...]]
    default_init: ClassVar[dict]
    #: Names of the end points to return.
    taps: tuple[str, ...]
    #: Channels and stride of each end point.
    feature_info: dict[str, FeatureInfo]

    def __init__(
        self,
        *,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(self.default_init))
        last = len(self.stage_names) - 1
        if frozen_stages not in range(-1, last + 1):
            raise InputError(
                f'frozen_stages={frozen_stages!r} is out of range; use -1 '
                f'(none), 0 (stem) to {last} (everything)'
            )
        self.frozen_stages = frozen_stages
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
        for name in self.stage_names[: self.frozen_stages + 1]:
            if hasattr(self, name):  # may not be built
                getattr(self, name).eval().requires_grad_(False)
