"""mmseg's cross entropy with class weights and ignored labels together.

mmseg's own ends in an IndexError then: always in mmseg 1.2.2, with
``avg_non_ignore`` in onedl-mmsegmentation 1.4.2. Only the divisor is at fault.
"""

from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor

from mnv2_mm.registry import MODELS


@MODELS.register_module()
class SegCrossEntropyLoss(CrossEntropyLoss):
    """Mean over the labeled pixels, weighted by class as torch's own mean is.

    Takes the arguments of mmseg's CrossEntropyLoss.
    """

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int = -100,
        **kwargs,
    ) -> Tensor:
        """Compare logits (B, C, H, W) with class indices (B, H, W)."""
        if avg_factor is None and self.class_weight is not None:
            labeled = label[label != ignore_index]
            avg_factor = cls_score.new_tensor(self.class_weight)[labeled].sum()
        return super().forward(
            cls_score,
            label,
            weight=weight,
            avg_factor=avg_factor,
            reduction_override=reduction_override,
            ignore_index=ignore_index,
            **kwargs,
        )
