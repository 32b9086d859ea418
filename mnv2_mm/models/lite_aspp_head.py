"""The head of Mobile DeepLabv3: section 6.3 and Table 7 of the paper.

Parallel branches over one feature map, fused by a 1x1 convolution::

    x --+-- global average -> 1x1, 256 -> resized back --+
        +-- 1x1, 256 ------------------------------------+-- concat
        +-- three 3x3, 256, atrous (optional: ASPP) -----+     |
                               1x1, 256 -> dropout -> 1x1, logits

Without the atrous branches this is the form that the paper recommends
(2.11M parameters with MobileNetV2 and 21 classes), with them its 4.52M row.

Differs from mmseg's ``ASPPHead``, as the DeepLab code does: fusion by a 1x1
convolution instead of a 3x3 one (3.16M and 7.15M), 256 channels,
``align_corners=True``, dropout of single values instead of whole channels, a loss
averaged over labeled pixels only. The layers keep mmseg's names. Differs from the
DeepLab code: its average pool has the fixed size of the training crop.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.models.blocks import ConvNormAct, truncated_normal
from mnv2_mm.models.checks import check_channels
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError

#: Batch norm of the head: decay 0.9997 and not the backbone's epsilon.
BN_DECODER = dict(type='BN', eps=1e-5, momentum=0.0003)


@MODELS.register_module()
@checked_arguments
class LiteASPPHead(BaseDecodeHead):
    """Image pooling, 1x1, optional atrous 3x3; fused by a 1x1.

    Args:
        in_channels: Channels of the feature map; 320 for ``layer_18`` of
            MobileNetV2 at width 1 (``backbone.out_channels`` has them).
        channels: Channels of every branch.
        atrous_rates: Rates of the 3x3 branches: (6, 12, 18) at output stride
            16, (12, 24, 36) at 8; None leaves these branches out.
        dropout_ratio: Share of the fused values that are dropped.
        norm_cfg: Batch norm with DeepLab's epsilon and momentum by default.
        norm_eval: Keep the BN statistics fixed while training (with the
            backbone's ``norm_eval``, TF's ``fine_tune_batch_norm=False``).
        align_corners: How maps are resized, here and by the segmentor.
        loss_decode: Cross-entropy, mean over the labeled pixels, by default.
        init_cfg: By default slim's (Xavier, uniform), and a truncated normal
            of deviation 0.01 for the logits.
        **kwargs: ``num_classes`` (required) and the rest of mmseg's
            BaseDecodeHead.
    """

    dropout: nn.Module | None

    def __init__(
        self,
        in_channels: int,
        channels: int = 256,
        *,
        atrous_rates: Sequence[int] | None = None,
        dropout_ratio: float = 0.1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        align_corners: bool = True,
        loss_decode: dict | Sequence[dict] | None = None,
        init_cfg: dict | Sequence[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg or dict(BN_DECODER),
            align_corners=align_corners,
            loss_decode=loss_decode
            or dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True),
            init_cfg=init_cfg
            or dict(
                type='Xavier',
                layer='Conv2d',
                distribution='uniform',
                override=truncated_normal(0.01, name='conv_seg'),
            ),
            **kwargs,
        )
        rates = () if atrous_rates is None else atrous_rates
        if not isinstance(rates, Sequence) or any(
            type(rate) is not int or rate < 1 for rate in rates
        ):
            raise InputError(
                f'LiteASPPHead: atrous_rates={rates!r} must be whole numbers of at '
                'least 1 such as (6, 12, 18), or None for no atrous branches'
            )
        self.atrous_rates = tuple(rates)
        self.norm_eval = norm_eval
        self.image_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), self._conv(in_channels)
        )
        self.aspp_modules = nn.ModuleList(
            [self._conv(in_channels)]
            + [self._conv(in_channels, 3, rate) for rate in self.atrous_rates]
        )
        self.bottleneck = self._conv((1 + len(self.aspp_modules)) * channels)
        if self.dropout is not None:
            # the base class would drop whole channels (Dropout2d)
            self.dropout = nn.Dropout(dropout_ratio)

    def _conv(self, in_channels: int, kernel: int = 1, rate: int = 1) -> ConvNormAct:
        """Convolution without bias, batch norm, ReLU; size is kept."""
        return ConvNormAct(
            in_channels,
            self.channels,
            kernel,
            padding=rate * (kernel // 2),
            dilation=rate,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
        )

    def train(self, mode: bool = True) -> 'LiteASPPHead':
        """Set the mode; with ``norm_eval`` the batch norm keeps its own."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map (B, C, H/s, W/s) at ``in_index`` -> logits (B, num_classes, H/s, W/s)."""
        x = self._transform_inputs(inputs)
        check_channels(self, 'decode_head', [x])
        pooled, size = self.image_pool(x), x.shape[2:]
        if torch.onnx.is_in_onnx_export():  # a Resize, which every backend has
            corners = self.align_corners
            pooled = interpolate(pooled, size, None, 'bilinear', corners)
        else:  # the same; oneDNN's graph cannot join the result of a resize
            pooled = pooled.expand(-1, -1, *size)
        branches = [pooled] + [conv(x) for conv in self.aspp_modules]
        return self.cls_seg(self.bottleneck(torch.cat(branches, dim=1)))
