"""Checkpoints are checked before a runner, or anything else, loads them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from toy_runner import Toy, toy_runner

from mnv2_mm.checkpoints.guard import check, load
from mnv2_mm.utils.errors import InputError


def test_load_takes_what_fits(tmp_path: Path) -> None:
    source, target = Toy(classes=5), Toy(classes=3)
    head = target.head.weight.clone()
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    _, report = load(target, str(tmp_path / 'a.pth'), use='finetune')
    assert set(report.reshaped) == {'head.weight', 'head.bias'}
    assert torch.equal(target.backbone[0].weight, source.backbone[0].weight)
    assert torch.equal(target.head.weight, head)


@pytest.mark.parametrize('ema', [False, True])
def test_hook_finetunes_with_one_warning(
    tmp_path: Path, ema: bool, capfd: pytest.CaptureFixture
) -> None:
    source, target = Toy(classes=5), Toy(classes=3)
    # as the converters write it: without "state_dict", which EMAHook expects
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    runner = toy_runner(
        tmp_path / 'run',
        target,
        load_from=str(tmp_path / 'a.pth'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        custom_hooks=[EMAHook()] if ema else None,
    )
    head = runner.model.head.weight.detach().clone()
    runner.train()
    output = capfd.readouterr().out
    assert output.count('2 keep their initial value: head (2)') == 1
    assert 'do not match exactly' not in output
    assert torch.equal(target.backbone[0].weight, source.backbone[0].weight)
    assert torch.equal(target.head.weight, head)


@pytest.mark.parametrize(('lacks', 'level'), [(None, 'INFO'), ('0.bias', 'WARNING')])
def test_a_new_head_is_no_warning(
    tmp_path: Path, lacks: str | None, level: str, capfd: pytest.CaptureFixture
) -> None:
    weights = Toy(classes=5).state_dict()
    weights.pop(f'backbone.{lacks}', None)
    path = str(tmp_path / 'a.pth')
    torch.save(weights, path)
    toy_runner(tmp_path / 'run', Toy(classes=3), load_from=path).train()
    (line,) = [x for x in capfd.readouterr().out.splitlines() if 'tensors matched' in x]
    assert f' {level} - ' in line


def test_counts_of_numpy_and_a_state_that_is_not_resumed_are_read() -> None:
    model, meta = Toy(), {'epoch': np.int64(3)}
    state = {'state_dict': model.state_dict(), 'meta': meta, 'optimizer': []}
    assert check(state, model, source='a', use='finetune').exact
    with pytest.raises(InputError, match='its optimizer is no dictionary'):
        check(state, model, source='a', use='resume')


def test_hook_stops_a_foreign_checkpoint(tmp_path: Path) -> None:
    torch.save(Toy(width=8).state_dict(), tmp_path / 'a.pth')
    runner = toy_runner(tmp_path / 'run', Toy(), load_from=str(tmp_path / 'a.pth'))
    with pytest.raises(InputError, match='of another model'):
        runner.train()


def test_hook_resumes_only_what_fits(tmp_path: Path) -> None:
    toy_runner(tmp_path / 'run', Toy(classes=5)).train()
    last = str(tmp_path / 'run' / 'epoch_2.pth')
    with pytest.raises(InputError, match='does not fit the model'):
        toy_runner(tmp_path / 'a', Toy(classes=3), load_from=last, resume=True).train()
    runner = toy_runner(
        tmp_path / 'b',
        Toy(classes=5),
        load_from=last,
        resume=True,
        train_cfg=dict(by_epoch=True, max_epochs=3),
    )
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 12)


def test_resume_restores_the_moving_average(tmp_path: Path) -> None:
    def run(epochs: int, hook: EMAHook, **changes: object) -> None:
        toy_runner(
            tmp_path / 'run',
            Toy(),
            custom_hooks=[hook],
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            **changes,
        ).train()

    first, second = EMAHook(momentum=0.5), EMAHook(momentum=0.5)
    run(2, first)
    last = str(tmp_path / 'run' / 'epoch_2.pth')
    run(2, second, load_from=last, resume=True)  # nothing left to train
    for key, value in first.ema_model.state_dict().items():
        torch.testing.assert_close(second.ema_model.state_dict()[key], value)
    assert second.ema_model.state_dict()['steps'] == 8
    for key, value in first.src_model.state_dict().items():
        torch.testing.assert_close(second.src_model.state_dict()[key], value)


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
