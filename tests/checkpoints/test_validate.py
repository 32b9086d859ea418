"""What of a checkpoint must fit a model, for each use."""

import pytest
import torch
from toy_runner import Toy

from mnv2_mm.checkpoints.validate import check
from mnv2_mm.utils.errors import InputError


def test_fitting_checkpoint_is_silent() -> None:
    weights = {f'module.{k}': v for k, v in Toy().state_dict().items()}
    del weights['module.backbone.1.num_batches_tracked']
    for use in ('resume', 'test', 'finetune'):
        assert check(weights, Toy(), source='a.pth', use=use).exact


@pytest.mark.parametrize('use', ['resume', 'test'])
def test_other_class_count_is_an_error_that_names_both(use: str) -> None:
    checkpoint = {
        'state_dict': Toy(classes=5).state_dict(),
        'meta': {'dataset_meta': {'classes': tuple('abcde')}},
    }
    with pytest.raises(InputError) as error:
        check(
            checkpoint, Toy(classes=3), source='a.pth', use=use, classes=['x', 'y', 'z']
        )
    text = str(error.value)
    assert text.startswith('a.pth does not fit the model')
    assert 'head.weight: (5, 4) in the file, (3, 4) in the model' in text
    assert '5 classes (a, b, c, d, e)' in text
    assert 'the config has 3 (x, y, z)' in text
    assert ('load_from=a.pth' in text) == (use == 'resume')


def test_other_class_count_is_a_warning_when_finetuning() -> None:
    weights = Toy(classes=5).state_dict()
    text = str(check(weights, Toy(), source='a.pth', use='finetune'))
    assert '2 keep their initial value: head (2)' in text
    assert 'head.weight: (5, 4) in the file, (3, 4) in the model' in text


def test_extra_tensors_are_an_error_only_when_resuming() -> None:
    weights = Toy().state_dict() | {'auxiliary_head.weight': torch.ones(1)}
    text = str(check(weights, Toy(), source='a.pth', use='test'))
    assert 'auxiliary_head (1)' in text
    with pytest.raises(InputError, match='auxiliary_head'):
        check(weights, Toy(), source='a.pth', use='resume')


@pytest.mark.parametrize('use', ['resume', 'test', 'finetune'])
def test_another_model_is_an_error(use: str) -> None:
    with pytest.raises(InputError) as error:
        check(Toy(width=8).state_dict(), Toy(), source='other.pth', use=use)
    text = str(error.value)
    assert 'other.pth is a checkpoint of another model' in text
    assert 'backbone.0.weight: (8, 2) in the file, (4, 2) in the model' in text


def test_bare_backbone_is_told_where_it_belongs() -> None:
    weights = {'features.0.weight': torch.ones(1)}
    with pytest.raises(InputError, match=r"type='Pretrained'"):
        check(weights, Toy(), source='net.pth', use='finetune')
