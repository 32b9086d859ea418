"""Convolution with TensorFlow's SAME padding.

mmcv's Conv2dAdaptivePadding pads a copy of every input. Most layers need none:
at stride 1, and at stride 2 on odd sides, SAME pads both sides alike, which
the convolution does itself.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def same_pads(
    side: int, kernel: int, stride: int = 1, dilation: int = 1
) -> tuple[int, int]:
    """Zeros before and after a side of the input; the odd one comes after."""
    # not by a negative number, for which ONNX rounds to the other side
    steps = (side + stride - 1) // stride - 1
    total = max(steps * stride + (kernel - 1) * dilation + 1 - side, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """nn.Conv2d with SAME padding; the argument ``padding`` is ignored.

    A direct subclass, so that mmengine applies an ``init_cfg`` for ``Conv2d``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/stride, W/stride), rounded up."""
        if self._is_slow_in_bfloat16(x):
            with torch.autocast('cpu', enabled=False):
                return self._forward(x, torch.float32).to(x.dtype)
        return self._forward(x, x.dtype)

    def _forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        x, padding = self.fitted(x, dtype)
        if self._is_slow_dilated(x, padding):
            return dilated_depthwise(x, self.weight, self.bias, self.dilation)
        return F.conv2d(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def fitted(
        self, x: Tensor, dtype: torch.dtype | None = None
    ) -> tuple[Tensor, tuple[int, int]]:
        """The input, padded if needed, and the padding left to the convolution."""
        dtype = dtype or x.dtype
        rows, columns = map(
            same_pads, x.shape[-2:], self.kernel_size, self.stride, self.dilation
        )
        if rows[0] == rows[1] and columns[0] == columns[1]:
            padding = rows[0], columns[0]
        else:
            x, padding = padded(x, rows, columns, dtype), (0, 0)
        # a conversion to the same dtype would be a node in an exported graph
        return x if x.dtype == dtype else x.to(dtype), padding

    def _is_slow_dilated(self, x: Tensor, padding: tuple[int, int]) -> bool:
        """Whether oneDNN computes the gradient by a kernel not made for depthwise."""
        return (
            self.training
            and torch.is_grad_enabled()
            and self.groups == self.in_channels == self.out_channels
            and self.dilation == padding != (1, 1)  # of a 3x3 kernel
            and self.stride == (1, 1)
            and x.device.type == 'cpu'
            and x.dtype == torch.float32
            and not torch.jit.is_tracing()
        )

    def _is_slow_in_bfloat16(self, x: Tensor) -> bool:
        """Whether oneDNN's bfloat16 gradient takes up to seven times as long."""
        return (
            self.training
            and self.groups > 1
            and self.stride != (1, 1)
            and x.device.type == 'cpu'
            and x.dtype == torch.bfloat16
            and torch.is_autocast_enabled('cpu')
        )


def dilated_depthwise(
    x: Tensor, weight: Tensor, bias: Tensor | None, dilation: tuple[int, ...]
) -> Tensor:
    """Depthwise 3x3 with dilation as one without, on the grids that it connects.

    (B, C, H, W) -> (B, C, H, W), channels last. A dilation of 2 sees the four grids of
    every second row and column apart; they become images of the batch. Equal to
    ``F.conv2d(padding=dilation, dilation=dilation)``. oneDNN has a depthwise gradient
    only without dilation.
    """
    (rows, columns), (height, width) = dilation, x.shape[-2:]
    if height % rows or width % columns:  # F.pad copies also if there is nothing to pad
        # zeros, as outside of the image
        x = F.pad(x, [0, -width % columns, 0, -height % rows])
    x = x.permute(0, 2, 3, 1)
    batch, high, wide, channels = x.shape
    grids = x.reshape(batch, high // rows, rows, wide // columns, columns, channels)
    grids = grids.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)
    out = F.conv2d(grids, weight, bias, padding=1, groups=channels).permute(0, 2, 3, 1)
    out = out.unflatten(0, (batch, rows, columns)).permute(0, 3, 1, 4, 2, 5)
    out = out.reshape(batch, high, wide, channels)[:, :height, :width]
    return out.permute(0, 3, 1, 2)


def padded(
    x: Tensor, rows: tuple[int, int], columns: tuple[int, int], dtype: torch.dtype
) -> Tensor:
    """Pad (B, C, H, W) with zeros, with the least memory traffic."""
    if torch.jit.is_tracing():
        return F.pad(x, [*columns, *rows])
    return _Pad.apply(x, rows, columns, dtype)


class _Pad(torch.autograd.Function):
    """``F.pad`` that fills the border only, and gives gradients as a view."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        rows: tuple[int, int],
        columns: tuple[int, int],
        dtype: torch.dtype,
    ) -> Tensor:
        batch, channels, height, width = x.shape
        top, left = rows[0], columns[0]
        ctx.dtype = x.dtype
        ctx.inner = (..., slice(top, top + height), slice(left, left + width))
        last = x.is_contiguous(memory_format=torch.channels_last)
        out = torch.empty(
            (batch, channels, height + sum(rows), width + sum(columns)),
            dtype=dtype,
            device=x.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        out[ctx.inner].copy_(x)
        out[:, :, :top].zero_()
        out[:, :, top + height :].zero_()
        out[..., :left].zero_()
        out[..., left + width :].zero_()
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return gradient[ctx.inner].to(ctx.dtype), None, None, None
