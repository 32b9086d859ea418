"""The classifier of section 6.1 on mmpretrain."""

import pytest
import torch

pytest.importorskip('mmpretrain.models')

from mnv2_mm.models.dropout_cls_head import DropoutClsHead
from mnv2_mm.utils.errors import InputError


def test_drops_one_value_in_five_in_training_only() -> None:
    head = DropoutClsHead(10, 5000, cal_acc=True).train()
    feature = torch.ones(1, 5000)
    dropped = (head.pre_logits((feature,)) == 0).float().mean().item()
    assert dropped == pytest.approx(0.2, abs=0.03)
    assert torch.equal(head.eval().pre_logits((feature,)), feature)


def test_wrong_channels_are_answered_with_the_right_ones() -> None:
    with pytest.raises(InputError, match=r'model\.head\.in_channels=8 '):
        DropoutClsHead(10, 1280)((torch.ones(2, 8),))


def test_misspelt_argument_names_the_class_and_the_right_argument() -> None:
    with pytest.raises(InputError, match=r"DropoutClsHead .*'dropout_ratio'"):
        DropoutClsHead(10, 1280, dropout_rate=0.2)
    with pytest.raises(InputError, match=r"DropoutClsHead .*'cal_acc'"):
        DropoutClsHead(10, 1280, cal_ac=True)
