"""The building blocks of MobileNetV2 and SSDLite.

Section 3, Table 1 and section 6.2. Differs from the blocks of mmdet, mmseg and
mmpretrain: a block can return its expanded tensor (the tap of SSDLite), and
padding can be TensorFlow's SAME, with which the official weights were trained.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
import torch.utils.checkpoint as cp
from mmcv.cnn import ConvModule
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.models.same_conv import SameConv2d
from mnv2_mm.models.split_inference import ExpansionSplit, checked_split, split_forward
from mnv2_mm.utils.errors import InputError

#: BN of TF's classification and DeepLab scopes: epsilon 1e-3 and moving
#: average decay 0.997, which is a PyTorch momentum of 0.003.
BN_CLASSIFICATION = dict(type='BN', eps=1e-3, momentum=0.003)
#: BN of TF's detection scopes: decay 0.9997.
BN_DETECTION = dict(type='BN', eps=1e-3, momentum=0.0003)

Padding = Literal['symmetric', 'same']


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count as TF-slim's ``depth_multiplier`` does.

    To the nearest multiple of ``divisor`` and at least that; one step up where
    rounding would remove more than 10 %.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def layer_cfgs(padding: Padding, norm_cfg: dict, act_cfg: dict | None) -> dict:
    """The layer arguments of a network; ReLU6 if ``act_cfg`` is None.

    Padding ``'symmetric'`` pads ``dilation`` on every side, as usual in
    PyTorch. ``'same'`` is TensorFlow's: on an even input a stride-2 3x3 pads
    the right and the bottom side only, which shifts the sampling grid by one
    pixel. Shapes agree, results do not: weights need the rule of their training.
    """
    if padding not in ('symmetric', 'same'):
        raise InputError(
            f"padding={padding!r} is unknown; use 'symmetric' (PyTorch, "
            "torchvision, mmpretrain weights) or 'same' (TensorFlow weights)"
        )
    for name, cfg in (('norm_cfg', norm_cfg), ('act_cfg', act_cfg or {'type': ''})):
        if not (isinstance(cfg, Mapping) and 'type' in cfg):
            raise InputError(
                f"{name}={cfg!r} is no dict with a type, as dict(type='BN')"
            )
    return dict(
        conv_cfg=dict(type=SameConv2d) if padding == 'same' else None,
        norm_cfg=dict(norm_cfg),
        act_cfg=act_cfg or dict(type='ReLU6'),
    )


def truncated_normal(std: float, **kwargs: Any) -> dict:
    """``init_cfg`` of TF's truncated normal: cut at two deviations.

    mmengine takes the cut as absolute bounds; its default (2.0) would cut
    nothing at these small deviations.
    """
    return dict(type='TruncNormal', std=std, a=-2 * std, b=2 * std, **kwargs)


class ReLU6(nn.ReLU6):
    """Clip to [0, 6], in place by default, also in training.

    torch's ``ReLU6(inplace=True)`` keeps a copy of its input for the backward
    pass. The output is enough to find where the gradient is zero, and the next
    convolution keeps it anyway.
    """

    def __init__(self, inplace: bool = True) -> None:
        super().__init__(inplace)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        # torch.fx, by which mmengine rewrites networks, passes something else
        known = isinstance(x, Tensor)
        gradient = known and x.requires_grad and torch.is_grad_enabled()
        if self.inplace and gradient and not torch.jit.is_tracing():
            return _ReLU6InPlace.apply(x)
        return F.relu6(x, self.inplace)


class _ReLU6InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.clamp_(0, 6)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        # zero where the output is 0 or 6, as for an input outside of [0, 6]
        return torch.ops.aten.hardtanh_backward(gradient, output, 0, 6)


class ConvNormAct(ConvModule):
    """mmcv's ConvModule for layers whose maps shrink by the stride only.

    Three differences: ConvModule initializes itself with Kaiming after the
    ``init_cfg`` of its owner and overrides it; here the owner's counts. A map
    with one value per channel (the last level of SSDLite, the pooled map of
    DeepLab) also trains with a batch of one. ReLU6 is :class:`ReLU6`.
    """

    activate: nn.Module

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, **kwargs: Any
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **kwargs)
        activate = getattr(self, 'activate', None)
        if type(activate) is nn.ReLU6:
            self.activate = ReLU6(activate.inplace)

    def init_weights(self) -> None:
        """Leave the weights to the owner's ``init_cfg``."""

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """(B, C, H, W) -> (B, C', H/stride, W/stride), rounded up."""
        # One value has no variance: torch raises, and TF uses zero, which makes the
        # layer a constant. Here the running statistics are used.
        if not self._is_single_value(x):
            return super().forward(x, activate, norm)
        self.norm.eval()
        try:
            return super().forward(x, activate, norm)
        finally:
            self.norm.train()

    def _is_single_value(self, x: Tensor) -> bool:
        """Whether batch norm would see one value per channel."""
        norm, stride = self.norm, self.conv.stride[0]
        if not (isinstance(norm, _BatchNorm) and norm.training):
            return False
        if not isinstance(x, Tensor):  # torch.fx
            return False
        rows, columns = (math.ceil(side / stride) for side in x.shape[-2:])
        values = x.shape[0] * rows * columns
        if isinstance(norm, nn.SyncBatchNorm):
            values *= get_world_size()
        return values == 1 and norm.track_running_stats


def depthwise(
    channels: int, *, stride: int = 1, dilation: int = 1, **layer_cfg: Any
) -> ConvNormAct:
    """3x3 depthwise convolution, norm, activation; see :func:`layer_cfgs`."""
    return ConvNormAct(
        channels,
        channels,
        3,
        stride=stride,
        padding=dilation,
        dilation=dilation,
        groups=channels,
        **layer_cfg,
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
        act_cfg: Activation of the first two convolutions.
        with_cp: As in MobileNetV2.
        expansion_split: As in MobileNetV2.
        **layer_cfg: ``conv_cfg`` and ``norm_cfg`` of all three convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        expand_ratio: int = 6,
        dilation: int = 1,
        act_cfg: dict | None = None,
        with_cp: bool = False,
        expansion_split: ExpansionSplit = 1,
        **layer_cfg: Any,
    ) -> None:
        super().__init__()
        self.expansion_split = checked_split(expansion_split)
        self.with_shortcut = stride == 1 and in_channels == out_channels
        self.with_cp = with_cp
        self.expanded_channels = in_channels * expand_ratio
        common = dict(layer_cfg, act_cfg=act_cfg)
        self.expand_conv = (
            ConvNormAct(in_channels, self.expanded_channels, 1, **common)
            if expand_ratio != 1
            else nn.Identity()
        )
        self.depthwise_conv = depthwise(
            self.expanded_channels, stride=stride, dilation=dilation, **common
        )
        common['act_cfg'] = None
        self.linear_conv = ConvNormAct(
            self.expanded_channels, out_channels, 1, **common
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/stride, W/stride)."""
        if self.expansion_split != 1 and not self.training:
            return split_forward(self, x)
        return self.forward_with_expansion(x)[1]

    def forward_with_expansion(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expanded tensor (B, t*C, H, W), after ReLU6, and the output."""
        if self.with_cp and x.requires_grad:
            return cp.checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        expanded = self.expand_conv(x)
        out = self.linear_conv(self.depthwise_conv(expanded))
        return expanded, x + out if self.with_shortcut else out
