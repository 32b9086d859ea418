"""The head of Mobile DeepLabv3: section 6.3 and Table 7 of the paper.

Parallel branches over one feature map, fused by a 1x1 convolution::

    x --+-- global average -> 1x1, 256 -> resized back --+
        +-- 1x1, 256 ------------------------------------+-- concat
        +-- three 3x3, 256, atrous (optional: ASPP) -----+     |
                               1x1, 256 -> dropout -> 1x1, logits

Without the atrous branches this is the form that the paper recommends
(2.11M parameters with MobileNetV2 and 21 classes), with them its 4.52M row.

Differs from mmseg's ``ASPPHead``: the concatenation is fused by a 1x1
convolution instead of a 3x3 one (which would make 3.16M and 7.15M), 256
channels, ``align_corners=True``, dropout of single values instead of whole
channels, a loss averaged over labeled pixels only; all as in the DeepLab code.
The layers keep mmseg's names. Differs from the DeepLab code: its average pool
has the fixed size of the training crop; for an image of that size this is the
global average.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.models.blocks import ConvNormAct, truncated_normal
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
        norm_cfg: Batch norm with DeepLab's epsilon and momentum if None.
        norm_eval: Keep the BN statistics fixed while training. With the
            backbone's ``norm_eval``, ``fine_tune_batch_norm=False`` of the
            DeepLab code.
        align_corners: How maps are resized, here and by the segmentor.
        loss_decode: Cross-entropy, mean over the pixels with a label, if
            None.
        init_cfg: As the DeepLab code if None: slim's default (Xavier,
            uniform), and a truncated normal of sd 0.01 for the logits.
        **kwargs: ``num_classes`` (required) and the rest of mmseg's
            BaseDecodeHead.

    Raises:
        InputError: Rates that are not positive whole numbers.
    """

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
        self.atrous_rates = _checked(atrous_rates)
        self.norm_eval = norm_eval
        self._init_layers()

    def _init_layers(self) -> None:
        """Make the branches, their fusion and the dropout."""
        self.image_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), self._conv(self.in_channels)
        )
        self.aspp_modules = nn.ModuleList(
            [self._conv(self.in_channels)]
            + [self._conv(self.in_channels, 3, r) for r in self.atrous_rates]
        )
        branches = 1 + len(self.aspp_modules)
        self.bottleneck = self._conv(branches * self.channels)
        if self.dropout is not None:
            # the base class would drop whole channels (Dropout2d)
            self.dropout = nn.Dropout(self.dropout_ratio)

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
        """Maps (B, C, H/s, W/s) at stride s -> logits (B, num_classes, H/s, W/s).

        The map at ``in_index`` is used.
        """
        x = self._transform_inputs(inputs)
        if not torch.jit.is_tracing() and x.shape[1] != self.in_channels:
            raise InputError(
                f'LiteASPPHead: the feature map has {x.shape[1]} channels '
                f'but in_channels={self.in_channels}; set '
                f'model.decode_head.in_channels={x.shape[1]} (the number '
                "follows the backbone's widen_factor and out_indices)"
            )
        pooled = interpolate(
            self.image_pool(x),
            size=x.shape[2:],
            mode='bilinear',
            align_corners=self.align_corners,
        )
        branches = [pooled] + [conv(x) for conv in self.aspp_modules]
        return self.cls_seg(self.bottleneck(torch.cat(branches, dim=1)))


def _checked(rates: Sequence[int] | None) -> tuple[int, ...]:
    """Return ``rates`` as a tuple; raise InputError for wrong ones."""
    if rates is None:
        return ()
    if not isinstance(rates, Sequence) or any(
        isinstance(r, bool) or not isinstance(r, int) or r < 1 for r in rates
    ):
        raise InputError(
            f'LiteASPPHead: atrous_rates={rates!r} must be whole numbers of at least '
            '1 such as (6, 12, 18), or None for no atrous branches'
        )
    return tuple(rates)
