"""The classifier of MobileNetV2: dropout before the last layer (section 6.1).

The official code drops 20 % of the values between the global average and the
classifier. mmpretrain's ``LinearClsHead`` has no dropout, and its
``StackedLinearClsHead`` has one only after a hidden layer.
"""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from mnv2_mm.models.blocks import truncated_normal
from mnv2_mm.models.checks import check_channels
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments


@MODELS.register_module()
@checked_arguments
class DropoutClsHead(LinearClsHead):
    """mmpretrain's linear classifier with dropout before it.

    Args:
        num_classes: Classes, without a background class.
        in_channels: Values per image: 1280 at widths up to 1, 1664 at 1.3,
            1792 at 1.4 (``backbone.out_channels`` has them).
        dropout_ratio: Share of the values that are dropped in training.
        loss: Cross-entropy by default.
        init_cfg: TF's truncated normal of standard deviation 0.09 by default.
        **kwargs: The rest of mmpretrain's ClsHead (``topk``, ``cal_acc``).
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        dropout_ratio: float = 0.2,
        loss: dict | None = None,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            loss=loss or dict(type='mmpretrain.CrossEntropyLoss'),
            init_cfg=init_cfg or truncated_normal(0.09, layer='Linear'),
            **kwargs,
        )
        self.dropout = nn.Dropout(dropout_ratio)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Drop values of the pooled feature: (B, C) -> (B, C)."""
        feature = super().pre_logits(feats)
        check_channels(self, 'head', [feature])
        return self.dropout(feature)
