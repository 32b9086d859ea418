"""The blocks that Figure 6 of the paper compares the inverted residual with.

Figure 6a: an activation (ReLU6) follows the projection, before the shortcut is
added, where the official code has its ``project_activation_fn``.

Figure 6b: the shortcut connects bottlenecks (the default), expansions, or
nothing. The paper does not say where the expansions are connected beyond
Figure 3a, "classical residuals connect the layers with high number of
channels". Here:

* From the expanded tensor of one block (after BN and ReLU6, before the
  depthwise convolution) to that of the next, so that the shortcut skips a
  narrow middle as the classical residual does.
* Where both tensors have the same shape: the first block has stride 1 and both
  expand to the same number of channels. These are the ten pairs whose first
  block has a shortcut by default; after the depthwise convolutions only seven
  pairs would fit.
* After the activation, so that the shortcut is the identity. ReLU6 over the sum
  would clip it at 6.

All variants have the same parameters, names and multiply-adds. With
``'expansion'`` two expansions are in memory at once (section 5.1).
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch.utils.checkpoint as cp
from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mnv2_mm.models.blocks import InvertedResidual
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError

Shortcut = Literal['bottleneck', 'expansion', 'none']


@MODELS.register_module()
@checked_arguments
class MobileNetV2Ablation(MobileNetV2):
    """MobileNetV2 with the switches of Figure 6; the defaults are the paper's.

    Args:
        widen_factor: As in MobileNetV2.
        out_indices: As in MobileNetV2.
        bottleneck_act: Activation after the projections (Figure 6a); None is
            the paper's linear bottleneck.
        shortcut: What shortcuts connect (Figure 6b): ``'bottleneck'``,
            ``'expansion'`` or ``'none'``.
        **kwargs: Of MobileNetV2; ``expansion_split`` must be 1.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int | str] = (7,),
        *,
        bottleneck_act: dict | None = None,
        shortcut: Shortcut = 'bottleneck',
        **kwargs: Any,
    ) -> None:
        self.switches: dict[str, Any] = dict(
            bottleneck_act=bottleneck_act, shortcut=shortcut
        )
        super().__init__(widen_factor, out_indices, **kwargs)
        if shortcut == 'expansion':
            blocks: list[Any] = self.blocks
            for first, second in itertools.pairwise(blocks):
                second.joins_expansion = (
                    first.depthwise_conv.stride == (1, 1)
                    and first.expanded_channels == second.expanded_channels
                )

    def _make_block(
        self, in_channels: int, out_channels: int, **kwargs: Any
    ) -> 'ResidualVariant':
        return ResidualVariant(in_channels, out_channels, **self.switches, **kwargs)

    def _run_block(
        self, block: Any, x: Tensor, previous: Any, *, tapped: bool
    ) -> tuple[Any, Tensor]:
        if self.switches['shortcut'] == 'expansion':
            return block.forward_with_expansion(x, previous)
        return super()._run_block(block, x, previous, tapped=tapped)


class ResidualVariant(InvertedResidual):
    """InvertedResidual with the switches of MobileNetV2Ablation."""

    #: Whether the expanded tensor of the block before is added to this block's.
    joins_expansion = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_act: dict | None = None,
        shortcut: Shortcut = 'bottleneck',
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, **kwargs)
        if self.expansion_split != 1:
            raise InputError(
                f'expansion_split={self.expansion_split!r} is for the block '
                "of the paper; use type='mnv2_mm.MobileNetV2' without "
                'bottleneck_act and shortcut'
            )
        if shortcut not in get_args(Shortcut):
            raise InputError(
                f"shortcut={shortcut!r} is unknown; use 'bottleneck' (the "
                "paper's network), 'expansion' or 'none'"
            )
        self.with_shortcut &= shortcut == 'bottleneck'
        try:
            self.bottleneck_act = (
                nn.Identity()
                if bottleneck_act is None
                else build_activation_layer(bottleneck_act)
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f'bottleneck_act={bottleneck_act!r} is no activation; use None '
                "(linear, the paper's network) or for example dict(type='ReLU6')"
            ) from error

    def forward_with_expansion(
        self, x: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the expanded tensor (B, t*C, H, W) and the output.

        ``previous`` (the block before) is ignored without ``joins_expansion``.
        """
        previous = previous if self.joins_expansion else None
        if self.with_cp and x.requires_grad:
            return cp.checkpoint(self._forward, x, previous, use_reentrant=False)
        return self._forward(x, previous)

    def _forward(
        self, x: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        expanded = self.expand_conv(x)
        if previous is not None:
            expanded = previous + expanded
        out = self.bottleneck_act(self.linear_conv(self.depthwise_conv(expanded)))
        return expanded, x + out if self.with_shortcut else out
