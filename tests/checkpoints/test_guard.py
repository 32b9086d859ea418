"""Checkpoints are checked before a runner, or anything else, loads them."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import EMAHook
from toy_runner import Toy, toy_runner

from mnv2_mm.checkpoints.guard import load
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
