"""mmseg's cross entropy with class weights and ignored labels together.

mmseg's own ends in an IndexError then: always in mmseg 1.2.2, with
``avg_non_ignore`` in onedl-mmsegmentation 1.4.2. Only the divisor is at fault.
"""

from typing import Any

from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor

from mnv2_mm.registry import MODELS


@MODELS.register_module()
class SegCrossEntropyLoss(CrossEntropyLoss):
    """mmseg's CrossEntropyLoss; class weights weight the mean as in torch."""

    def forward(self, cls_score: Tensor, label: Tensor, **kwargs: Any) -> Tensor:
        """Compare logits (B, C, H, W) with class indices (B, H, W)."""
        given = kwargs.get('reduction_override') or self.reduction
        weighted = given == 'mean' and self.class_weight is not None
        if kwargs.get('avg_factor') is None and weighted:
            labeled = label[label != kwargs.get('ignore_index', -100)]
            weights = cls_score.new_tensor(self.class_weight)
            kwargs['avg_factor'] = weights[labeled].sum()
        return super().forward(cls_score, label, **kwargs)
