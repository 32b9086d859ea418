"""Cross entropy with class weights: torch's."""

import pytest
import torch
from torch.nn.functional import cross_entropy

pytest.importorskip('mmseg.models')
from mnv2_mm.models.seg_loss import SegCrossEntropyLoss

WEIGHTS = [0.5, 2.0, 1.0]


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_class_weights_as_in_torch(reduction: str) -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    label[0, 0] = 255
    loss = SegCrossEntropyLoss(class_weight=WEIGHTS, reduction=reduction)
    wanted = cross_entropy(
        logits, label, torch.tensor(WEIGHTS), ignore_index=255, reduction=reduction
    )
    torch.testing.assert_close(loss(logits, label, ignore_index=255), wanted)
