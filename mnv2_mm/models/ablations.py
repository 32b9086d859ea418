"""The blocks that Figure 6 of the paper compares the inverted residual with.

Figure 6a, "impact of non-linearity in the bottleneck layer": an activation
(ReLU6) follows the projection. It is applied before the shortcut is added,
where the official code has its ``project_activation_fn``.

Figure 6b, "impact of variations in residual blocks": the shortcut connects
bottlenecks (the default), expansions, or nothing. The paper does not say where
the expansions are connected beyond Figure 3a, "classical residuals connect the
layers with high number of channels". Here:

* From the expanded tensor of one block (after BN and ReLU6, before the
  depthwise convolution) to that of the next. So the shortcut skips depthwise,
  project, expand, as the classical residual skips a narrow middle.
* Where both tensors have the same shape: the first of the two blocks has
  stride 1 and both expand to the same number of channels. These are the pairs
  whose first block has a shortcut by default, ten in the network of Table 2,
  so Figure 6b compares networks with the same number of shortcuts. (Tapped
  after the depthwise convolutions, only seven pairs would fit.)
* After the activation, so that the shortcut is the identity, as it is between
  bottlenecks. ReLU6 over the sum would clip it at 6.

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
from mnv2_mm.models.mobilenet_v2 import EXPANSION, MobileNetV2
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
        bottleneck_act: Activation after the projections, for Figure 6a; None
            is the paper's linear bottleneck.
        shortcut: What shortcuts connect, for Figure 6b: ``'bottleneck'``,
            ``'expansion'`` or ``'none'``; see the module.
        **kwargs: Of MobileNetV2; ``expansion_split`` is refused.
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
        check_switches(bottleneck_act, shortcut)
        self.bottleneck_act = bottleneck_act
        self.shortcut = shortcut
        super().__init__(widen_factor, out_indices, **kwargs)
        if shortcut == 'expansion':
            join_expansions(self.blocks)

    def _make_block(
        self, in_channels: int, out_channels: int, **kwargs: Any
    ) -> 'ResidualVariant':
        return ResidualVariant(
            in_channels,
            out_channels,
            bottleneck_act=self.bottleneck_act,
            shortcut=self.shortcut,
            **kwargs,
        )

    def _run_stages(self, x: Tensor, found: dict[str, Tensor]) -> Tensor:
        if self.shortcut != 'expansion':
            return super()._run_stages(x, found)
        x, expanded = self.conv1(x), None
        if 'layer_1' in self.taps:
            found['layer_1'] = x
        for layer, block in enumerate(self.blocks, start=2):
            name = f'layer_{layer}'
            expanded, x = block.forward_with_expansion(x, expanded)
            if name + EXPANSION in self.taps:
                found[name + EXPANSION] = expanded
            if name in self.taps:
                found[name] = x
        return x


class ResidualVariant(InvertedResidual):
    """Inverted residual with the switches of Figure 6.

    Args:
        in_channels: Channels of the input bottleneck.
        out_channels: Channels of the output bottleneck.
        bottleneck_act: As in MobileNetV2Ablation.
        shortcut: As in MobileNetV2Ablation.
        **kwargs: Of InvertedResidual; ``expansion_split`` must be 1.

    Attributes:
        joins_expansion: Whether the expanded tensor of the block before is
            added to this block's; :func:`join_expansions` sets it.
    """

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
        self.with_shortcut &= shortcut == 'bottleneck'
        self.bottleneck_act = (
            nn.Identity()
            if bottleneck_act is None
            else build_activation_layer(bottleneck_act)
        )
        self.joins_expansion = False

    def forward_with_expansion(
        self, x: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the expanded tensor (B, t*C, H, W) and the output.

        ``previous`` is the expanded tensor of the block before; it is added
        where ``joins_expansion`` is set, and ignored elsewhere.
        """
        if not self.joins_expansion:
            previous = None
        if self.with_cp and x.requires_grad:
            return cp.checkpoint(self._forward, x, previous, use_reentrant=False)
        return self._forward(x, previous)

    def _forward(self, x: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor]:
        expanded = self.expand_conv(x)
        if previous is not None:
            expanded = previous + expanded
        out = self.bottleneck_act(self.linear_conv(self.depthwise_conv(expanded)))
        return expanded, x + out if self.with_shortcut else out


def join_expansions(blocks: Sequence[ResidualVariant]) -> None:
    """Connect the expansions of successive blocks where shapes agree."""
    for first, second in itertools.pairwise(blocks):
        second.joins_expansion = (
            first.depthwise_conv.stride == (1, 1)
            and first.expanded_channels == second.expanded_channels
        )


def check_switches(bottleneck_act: dict | None, shortcut: Shortcut) -> None:
    """Raise InputError for a value that a switch of Figure 6 does not have."""
    if shortcut not in get_args(Shortcut):
        raise InputError(
            f"shortcut={shortcut!r} is unknown; use 'bottleneck' (the "
            "paper's network), 'expansion' or 'none'"
        )
    if bottleneck_act is None:
        return
    try:
        build_activation_layer(bottleneck_act)
    except (KeyError, TypeError) as error:
        raise InputError(
            f'bottleneck_act={bottleneck_act!r} is no activation; use None '
            "(linear, the paper's network) or for example dict(type='ReLU6')"
        ) from error
