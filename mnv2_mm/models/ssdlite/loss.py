"""SSDLite's class loss, as the official configuration has it.

TF's class predictor has a slot for the background, and every slot is a
sigmoid of its own: an unmatched anchor has target 1 in the background slot.
mmdet's SSDHead knows softmax only.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from mnv2_mm.utils.errors import InputError


def background_to_last(weight: Tensor, num_classes: int) -> Tensor:
    """Reorder class slots from TF (background 0) to mmdet (background last).

    The one place that knows of the difference: the network itself keeps the
    background last everywhere.

    Args:
        weight: (A * (num_classes + 1), ...), the weight or bias of a class
            predictor with A anchors a cell.
        num_classes: Classes without the background.
    """
    slots = weight.reshape(-1, num_classes + 1, *weight.shape[1:])
    return slots.roll(-1, dims=1).reshape(weight.shape)


class ClassSlotLoss(nn.Module):
    """Class loss of each anchor over C classes and the background, last.

    mmdet asks a loss for the scores if it has ``custom_cls_channels``; that
    is where the background slot is dropped at prediction.

    Args:
        num_classes: Classes without the background.
        kind: ``'sigmoid'`` (official) or ``'softmax'``.
        background_slot: False leaves the background's slot out, as TF does
            with ``add_background_class: false``; sigmoid only.
    """

    custom_cls_channels = True

    def __init__(
        self,
        num_classes: int,
        kind: str = 'sigmoid',
        *,
        background_slot: bool = True,
    ) -> None:
        super().__init__()
        if kind not in ('sigmoid', 'softmax'):
            raise InputError(
                f"loss={kind!r} is unknown; use 'sigmoid' (as the official "
                "SSDLite) or 'softmax' (as SSD)"
            )
        if kind == 'softmax' and not background_slot:
            raise InputError(
                "loss='softmax' needs a slot for the background: its scores "
                "add up to one. Use loss='sigmoid' or background_slot=True"
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
        if self.kind == 'softmax':
            return logits.softmax(dim=-1)[:, : self.num_classes]
        return logits[:, : self.num_classes].sigmoid()
