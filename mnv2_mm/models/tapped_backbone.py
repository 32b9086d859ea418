"""What the backbones of this package share: strides, freezing, checks.

TF-slim turns strides into atrous rates by one rule for every network of the
paper (MobileNetV1, MobileNetV2, ResNet): :class:`StridePlan`. Its tables do
not agree with the ``strides`` and ``dilations`` arguments of mmseg, where a
stage has one rate. Freezing here covers BN statistics, also of the stem,
and ``train()`` returns the module; both are not so in every host.
"""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.utils.errors import InputError

OUTPUT_STRIDES = (32, 16, 8)


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


def check_taps(out_indices: Sequence[int | str], example: str) -> None:
    """Raise InputError unless it is a sequence that holds something."""
    if isinstance(out_indices, str | int) or not len(out_indices):
        raise InputError(
            f'out_indices={out_indices!r} must be a non-empty sequence '
            f'of taps, for example {example}'
        )


class TappedBackbone(BaseModule):
    """A backbone that returns the maps asked for and can be frozen.

    Args:
        parts: Names of the stem and of the stages, in their order.
        frozen_stages: -1 freezes nothing, 0 the stem, n the first n parts
            behind it too: parameters and BN statistics.
        norm_eval: Keep all BN statistics fixed while training.
        init_cfg: As in mmengine.

    Attributes:
        out_channels: Channels of each returned map.
        out_strides: Input size over map size of each returned map.
    """

    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]

    def __init__(
        self,
        parts: Sequence[str],
        *,
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(init_cfg)
        if frozen_stages not in range(-1, len(parts)):
            raise InputError(
                f'frozen_stages={frozen_stages!r} is out of range; use -1 '
                f'(none), 0 (stem) to {len(parts) - 1} (everything)'
            )
        self.parts = tuple(parts)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

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
        for name in self.parts[: self.frozen_stages + 1]:
            module = getattr(self, name, None)  # may not be built
            if module is not None:
                module.eval()
                module.requires_grad_(False)
