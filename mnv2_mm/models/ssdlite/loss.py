"""SSDLite's class loss: a sigmoid per class and one for the background.

As in TF's official configuration; mmdet's SSDHead offers softmax only.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from mnv2_mm.utils.errors import InputError


class ClassSlotLoss(nn.Module):
    """Class loss of each anchor over C classes and the background (last).

    ``background_slot=False`` leaves the background out, as TF does with
    ``add_background_class: false``; for ``kind='sigmoid'`` only.
    """

    custom_cls_channels = True  # mmdet asks get_activation for the scores

    def __init__(
        self, num_classes: int, kind: str = 'sigmoid', *, background_slot: bool = True
    ) -> None:
        super().__init__()
        if kind not in ('sigmoid', 'softmax'):
            raise InputError(
                f"loss={kind!r} is unknown; use 'sigmoid' (SSDLite) or 'softmax' (SSD)"
            )
        if kind == 'softmax' and not background_slot:
            raise InputError(
                "loss='softmax' needs a slot for the background; use loss='sigmoid' "
                'or background_slot=True'
            )
        self.num_classes = num_classes
        self.kind = kind
        self.slots = num_classes + background_slot

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, slots) and labels (N,), C = background -> (N,)."""
        if self.kind == 'softmax':
            return F.cross_entropy(logits, labels, reduction='none')
        target = F.one_hot(labels, self.num_classes + 1)[:, : self.slots]
        return F.binary_cross_entropy_with_logits(
            logits, target.to(logits.dtype), reduction='none'
        ).sum(dim=1)

    def get_activation(self, logits: Tensor) -> Tensor:
        """Logits (N, slots) -> scores of the classes (N, C)."""
        scores = logits.softmax(dim=-1) if self.kind == 'softmax' else logits.sigmoid()
        return scores[:, : self.num_classes]
