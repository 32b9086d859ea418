"""The building blocks of MobileNetV2 and SSDLite.

Section 3 and Table 1 of the paper: the inverted residual with its linear
bottleneck, and the depthwise-separable layers of section 6.2. Differs from the
blocks of mmdet, mmseg and mmpretrain: a block can return its expanded tensor
(the tap of SSDLite), and padding can be TensorFlow's SAME, with which the
official weights were trained.
"""

import math
from typing import Any, Literal

import torch.utils.checkpoint as cp
from mmcv.cnn import ConvModule
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.models.relu6 import ReLU6
from mnv2_mm.models.same_conv import SameConv2d
from mnv2_mm.models.split_inference import ExpansionSplit, checked_split, split_forward
from mnv2_mm.utils.errors import InputError

#: BN of TF's classification and DeepLab scopes: epsilon 1e-3 and moving
#: average decay 0.997, which is a PyTorch momentum of 0.003.
BN_CLASSIFICATION = dict(type='BN', eps=1e-3, momentum=0.003)
#: BN of TF's detection scopes: decay 0.9997.
BN_DETECTION = dict(type='BN', eps=1e-3, momentum=0.0003)

Padding = Literal['symmetric', 'same']


def make_divisible(value: float, divisor: int = 8, *, min_ratio: float = 0.9) -> int:
    """Round a channel count as TF-slim's ``depth_multiplier`` does.

    To the nearest multiple of ``divisor`` and at least ``divisor``; one step
    up where rounding would remove more than ``1 - min_ratio``.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < min_ratio * value else rounded


def padding_conv_cfg(padding: Padding) -> dict | None:
    """The ``conv_cfg`` of a padding rule.

    ``symmetric`` pads ``dilation`` on every side, as usual in PyTorch.
    ``same`` is TensorFlow's: on an even input a stride-2 3x3 pads the right
    and the bottom side only, which shifts the sampling grid by one pixel.
    Shapes agree, results do not: weights need the rule of their training.
    """
    if padding == 'symmetric':
        return None
    if padding == 'same':
        return dict(type=SameConv2d)
    raise InputError(
        f"padding={padding!r} is unknown; use 'symmetric' (PyTorch, "
        "torchvision, mmpretrain weights) or 'same' (TensorFlow weights)"
    )


def truncated_normal(std: float, **kwargs: Any) -> dict:
    """``init_cfg`` of TF's truncated normal: cut at two deviations.

    mmengine takes the cut as absolute bounds; its default (2.0) would cut
    nothing at these small deviations.
    """
    return dict(type='TruncNormal', std=std, a=-2 * std, b=2 * std, **kwargs)


class ConvNormAct(ConvModule):
    """mmcv's ConvModule for "same" layers: maps shrink by the stride only.

    Three differences. ConvModule initializes itself with Kaiming after the
    ``init_cfg`` of its owner and overrides it; here the owner's counts. A map
    with one value per channel (the last level of SSDLite, the pooled map of
    DeepLab) also trains with a batch of one. ReLU6 is
    :class:`~mnv2_mm.models.relu6.ReLU6`. Arguments are those of ConvModule.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, **kwargs: Any
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **kwargs)
        if type(getattr(self, 'activate', None)) is nn.ReLU6:
            self.activate = ReLU6(self.activate.inplace)

    def init_weights(self) -> None:
        """Leave the weights to the owner's ``init_cfg``."""

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """(B, C, H, W) -> (B, C', H/stride, W/stride), rounded up.

        One value has no variance, and torch raises; TF would use zero, which
        makes the layer a constant. Here the running statistics are used, as at
        test time. Larger batches are normalized by their own statistics.
        """
        if not self._is_single_value(x):
            return super().forward(x, activate, norm)
        self.norm.eval()
        try:
            return super().forward(x, activate, norm)
        finally:
            self.norm.train()

    def _is_single_value(self, x: Tensor) -> bool:
        """Whether batch norm would see one value per channel."""
        if not self.training or not self.with_norm:
            return False
        norm, stride = self.norm, self.conv.stride[0]
        if not isinstance(norm, _BatchNorm) or not norm.training:
            return False
        rows, columns = (math.ceil(side / stride) for side in x.shape[-2:])
        values = x.shape[0] * rows * columns
        if isinstance(norm, nn.SyncBatchNorm):
            values *= get_world_size()
        return values == 1 and norm.track_running_stats


def depthwise(
    channels: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    conv_cfg: dict | None = None,
    norm_cfg: dict | None = None,
    act_cfg: dict | None = None,
) -> ConvNormAct:
    """3x3 depthwise convolution + norm + activation.

    (B, C, H, W) -> (B, C, H/stride, W/stride), rounded up.
    """
    return ConvNormAct(
        channels,
        channels,
        3,
        stride=stride,
        padding=dilation,
        dilation=dilation,
        groups=channels,
        conv_cfg=conv_cfg,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    )


class InvertedResidual(nn.Module):
    """Bottleneck with expansion (Table 1): 1x1, depthwise 3x3, linear 1x1.

    The projection has no activation (section 3.2), and a shortcut connects the
    bottlenecks when the block keeps stride and channels. With
    ``expand_ratio=1`` there is no first 1x1, as in TF's layer_2.

    Args:
        in_channels: Channels of the input bottleneck.
        out_channels: Channels of the output bottleneck.
        stride: Stride of the depthwise convolution.
        expand_ratio: Expanded channels over ``in_channels``, t in the paper.
        dilation: Rate of the depthwise convolution.
        conv_cfg: Convolution type, see :func:`padding_conv_cfg`.
        norm_cfg: Normalization of all three convolutions.
        act_cfg: Activation of the first two.
        with_cp: Save memory by recomputing the block in the backward pass.
        expansion_split: Number of parts in which the expanded tensor is
            computed at inference, see :mod:`mnv2_mm.models.split_inference`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        expand_ratio: int = 6,
        dilation: int = 1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        with_cp: bool = False,
        expansion_split: ExpansionSplit = 1,
    ) -> None:
        super().__init__()
        self.expansion_split = checked_split(expansion_split)
        self.with_shortcut = stride == 1 and in_channels == out_channels
        self.with_cp = with_cp
        self.expanded_channels = in_channels * expand_ratio
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.expand_conv = (
            ConvNormAct(
                in_channels, self.expanded_channels, 1, act_cfg=act_cfg, **common
            )
            if expand_ratio != 1
            else nn.Identity()
        )
        self.depthwise_conv = depthwise(
            self.expanded_channels,
            stride=stride,
            dilation=dilation,
            act_cfg=act_cfg,
            **common,
        )
        self.linear_conv = ConvNormAct(
            self.expanded_channels, out_channels, 1, act_cfg=None, **common
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/stride, W/stride)."""
        if self.expansion_split != 1 and not self.training:
            return split_forward(self, x)
        return self.forward_with_expansion(x)[1]

    def forward_with_expansion(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expanded tensor (B, t*C, H, W) and the output.

        The expanded tensor is the one after BN and ReLU6 and before the
        depthwise convolution: TF's ``layer_k/expansion_output``.
        """
        if self.with_cp and x.requires_grad:
            return cp.checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        expanded = self.expand_conv(x)
        out = self.linear_conv(self.depthwise_conv(expanded))
        return expanded, x + out if self.with_shortcut else out
