"""The blocks that Figure 6 of the paper compares the inverted residual with.

Figure 6a, "impact of non-linearity in the bottleneck layer": an activation
(ReLU6) follows the projection. It stands before the shortcut's addition,
where the official code has its ``project_activation_fn``.

Figure 6b, "impact of variations in residual blocks": the shortcut joins
bottlenecks (the default), expansions, or nothing. Where the expansions join
the paper does not say beyond Figure 3a, "classical residuals connect the
layers with high number of channels". Here:

* From the expanded tensor of one block (after BN and ReLU6, before the
  depthwise convolution) to that of the next. A network of these blocks
  repeats expand, depthwise, project. A shortcut between bottlenecks goes
  past these three in this order, one between expansions past depthwise,
  project, expand: the same ring entered one step later, as the classical
  residual's narrow middle between wide ends.
* Where both tensors have the same shape: the first of the two blocks has
  stride 1 and both expand to as many channels. These are the pairs whose
  first block has a shortcut by default, ten in the network of Table 2, so
  that Figure 6b compares networks with equally many of them. (Tapped behind
  the depthwise convolutions instead, only seven pairs would fit.)
* After the activation, so that the shortcut is the identity, as the one
  between bottlenecks is. ReLU6 over the sum would cut it off at 6.

All variants have the same parameters, the same names of them and the same
multiply-adds. Two expansions have to be in memory at once, though, which is
what section 5.1 spends the inverted form on avoiding.
"""

import itertools
from collections.abc import Sequence
from typing import Literal, get_args

import torch.utils.checkpoint as cp
from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mnv2_mm.models.blocks import InvertedResidual
from mnv2_mm.utils.errors import InputError

Shortcut = Literal['bottleneck', 'expansion', 'none']


class ResidualVariant(InvertedResidual):
    """Inverted residual with the switches of Figure 6.

    Args:
        in_channels: Channels of the input bottleneck.
        out_channels: Channels of the output bottleneck.
        bottleneck_act: Activation after the projection; None is the linear
            bottleneck.
        shortcut: What shortcuts connect, see the module. ``'expansion'``
            takes effect by :func:`join_expansions`.
        **kwargs: Of :class:`~mnv2_mm.models.blocks.InvertedResidual`, but
            for ``expansion_split``.

    Attributes:
        joins_expansion: Whether the expanded tensor of the block before is
            added to this block's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_act: dict | None = None,
        shortcut: Shortcut = 'bottleneck',
        **kwargs: object,
    ) -> None:
        super().__init__(in_channels, out_channels, **kwargs)
        if self.expansion_split != 1:
            raise InputError(
                f'expansion_split={self.expansion_split!r} is for the block '
                'of the paper; leave it out together with bottleneck_act or '
                'shortcut'
            )
        self.with_shortcut &= shortcut == 'bottleneck'
        self.bottleneck_act = (
            nn.Identity()
            if bottleneck_act is None
            else build_activation_layer(bottleneck_act)
        )
        self.joins_expansion = False

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H/stride, W/stride)."""
        return self.forward_with_expansion(x, previous)[1]

    def forward_with_expansion(
        self, x: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the expanded tensor and the output.

        Args:
            x: Input bottleneck, (B, C, H, W).
            previous: Expanded tensor of the block before; needed, and then
                of shape (B, t*C, H, W), where ``joins_expansion`` is set.

        Returns:
            The tensor before the depthwise convolution (B, t*C, H, W), a sum
            where ``joins_expansion`` is set, and the output
            (B, C', H/stride, W/stride).
        """
        if not self.joins_expansion:
            previous = None
        if self.with_cp and x.requires_grad:
            return cp.checkpoint(self._forward, x, previous, use_reentrant=False)
        return self._forward(x, previous)

    def _forward(
        self, x: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        expanded = self.expand_conv(x)
        if previous is not None:
            expanded = previous + expanded
        out = self.linear_conv(self.depthwise_conv(expanded))
        out = self.bottleneck_act(out)
        return expanded, x + out if self.with_shortcut else out


def join_expansions(blocks: Sequence[ResidualVariant]) -> None:
    """Connect the expansions of successive blocks where shapes agree."""
    for first, second in itertools.pairwise(blocks):
        second.joins_expansion = (
            first.depthwise_conv.stride == (1, 1)
            and first.expanded_channels == second.expanded_channels
        )


def variant_options(bottleneck_act: dict | None, shortcut: Shortcut) -> dict:
    """Check the switches; return those of :class:`ResidualVariant`.

    Returns:
        Its keyword arguments; empty for the block of the paper, which needs
        no variant.

    Raises:
        InputError: a switch has no such position.
    """
    if shortcut not in get_args(Shortcut):
        raise InputError(
            f"shortcut={shortcut!r} is unknown; use 'bottleneck' (the "
            "paper's network), 'expansion' or 'none'"
        )
    if bottleneck_act is not None:
        try:
            build_activation_layer(bottleneck_act)
        except (KeyError, TypeError) as error:
            raise InputError(
                f'bottleneck_act={bottleneck_act!r} is no activation; use '
                "None (linear, the paper's network) or for example "
                "dict(type='ReLU6')"
            ) from error
    elif shortcut == 'bottleneck':
        return {}
    return dict(bottleneck_act=bottleneck_act, shortcut=shortcut)
