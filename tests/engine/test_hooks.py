"""Checkpoints are looked at before loading; progress and resume."""

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from rich.console import Console
from torch import nn

from mnv2_mm.checkpoints import CheckpointGuardHook
from mnv2_mm.checkpoints.file import check_file, is_complete, read
from mnv2_mm.checkpoints.guard import load
from mnv2_mm.checkpoints.report import WeightReport
from mnv2_mm.checkpoints.resume import latest_checkpoint
from mnv2_mm.checkpoints.validate import check
from mnv2_mm.engine import ProgressHook
from mnv2_mm.models import MobileNetV2
from mnv2_mm.utils.errors import InputError


class Toy(BaseModel):
    """A backbone of three tensors that matter, and a head."""

    def __init__(self, classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))
        self.head = nn.Linear(width, classes)

    def forward(
        self, inputs: object, data_samples: object = None, mode: str = 'loss'
    ) -> object:
        out = self.head(self.backbone(torch.stack(list(inputs))))
        return {'loss': out.square().mean()} if mode == 'loss' else out


def toy_runner(work_dir: Path, model: Toy, **changes: object) -> Runner:
    data = [{'inputs': torch.rand(2)} for _ in range(8)]
    settings = dict(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=data,
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            guard=CheckpointGuardHook(),
        ),
        experiment_name=f'{work_dir.name}_{time.monotonic_ns()}',
    )
    return Runner(**(settings | changes))


def test_compare_finds_each_kind_of_difference() -> None:
    weights = Toy(classes=5).state_dict()
    weights['extra'] = weights.pop('backbone.0.bias')
    own = Toy(classes=3).state_dict()
    found = WeightReport.compare(weights, own, source='a.pth')
    assert found.reshaped == {
        'head.weight': ((5, 4), (3, 4)),
        'head.bias': ((5,), (3,)),
    }
    assert found.missing == ['backbone.0.bias']
    assert found.unused == ['extra']
    assert found.share('backbone.') == pytest.approx(5 / 6)
    assert not found.exact
    assert WeightReport.compare(own, own, source='a.pth').exact


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
            checkpoint,
            Toy(classes=3),
            source='a.pth',
            use=use,
            classes=['x', 'y', 'z'],
        )
    text = str(error.value)
    assert text.startswith('a.pth does not fit the model')
    assert 'head.weight: (5, 4) in the file, (3, 4) in the model' in text
    assert '5 classes (a, b, c, d, e)' in text
    assert 'the config has 3 classes (x, y, z)' in text
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


def test_unreadable_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='there is no checkpoint'):
        read(tmp_path / 'none.pth')
    (tmp_path / 'text.pth').write_text('hello')
    with pytest.raises(InputError, match='is not a checkpoint of PyTorch'):
        read(tmp_path / 'text.pth')
    torch.save(Toy().state_dict(), tmp_path / 'good.pth')
    check_file(str(tmp_path / 'good.pth'))
    truncate(tmp_path / 'good.pth')
    with pytest.raises(InputError, match='is cut off'):
        read(tmp_path / 'good.pth')
    torch.save({'a': 1}, tmp_path / 'numbers.pth')
    with pytest.raises(InputError, match='holds no weights'):
        read(tmp_path / 'numbers.pth')
    torch.save(
        Toy().state_dict(),
        tmp_path / 'old.pth',
        _use_new_zipfile_serialization=False,
    )
    assert 'head.bias' in read(tmp_path / 'old.pth')


def test_numbers_of_numpy_are_read_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """As mmseg's best mIoU in the message hub."""
    best = {'best_score': np.float32(0.5), 'n': np.int16(1)}
    state = {'state_dict': Toy().state_dict(), 'message_hub': best}
    torch.save(state, tmp_path / 'a.pth')
    assert read(tmp_path / 'a.pth')['message_hub']['best_score'] == 0.5
    assert capfd.readouterr().out == ''


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])


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


# -- resume ------------------------------------------------------------------
def make_checkpoints(folder: Path, names: list[str]) -> None:
    for age, name in enumerate(reversed(names)):
        path = folder / name
        torch.save({'weights': torch.ones(100)}, path)
        stamp = time.time() - 100 * age
        os.utime(path, (stamp, stamp))


def test_latest_checkpoint_is_the_newest_complete_one(tmp_path: Path) -> None:
    assert latest_checkpoint(str(tmp_path / 'none')) == (None, [])
    # epoch_20 is of an older, longer run in the same folder
    make_checkpoints(tmp_path, ['epoch_20.pth', 'epoch_9.pth', 'epoch_10.pth'])
    make_checkpoints(tmp_path, ['best_mIoU_epoch_9.pth'])
    # what a run killed at this very moment leaves behind
    (tmp_path / 'last_checkpoint').write_text('')
    newest = str(tmp_path / 'epoch_10.pth')
    assert latest_checkpoint(str(tmp_path)) == (newest, [])


def test_cut_off_checkpoints_are_passed_over(tmp_path: Path) -> None:
    make_checkpoints(tmp_path, ['iter_1.pth', 'iter_2.pth', 'iter_3.pth'])
    times = os.stat(tmp_path / 'iter_3.pth')
    truncate(tmp_path / 'iter_3.pth')
    (tmp_path / 'iter_2.pth').write_bytes(b'')
    os.utime(tmp_path / 'iter_3.pth', (times.st_atime, times.st_mtime))
    assert not is_complete(str(tmp_path / 'iter_3.pth'))
    path, broken = latest_checkpoint(str(tmp_path))
    assert path == str(tmp_path / 'iter_1.pth')
    assert {Path(name).name for name in broken} == {'iter_2.pth', 'iter_3.pth'}


# -- progress ----------------------------------------------------------------
def run_with_bar(tmp_path: Path, *, terminal: bool) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=150)
    hook = ProgressHook(console=console)
    runner = toy_runner(tmp_path / 'run', Toy(), custom_hooks=[hook])
    streams = [h.stream for h in runner.logger.handlers if hasattr(h, 'stream')]
    import mnv2_mm.engine.progress as module

    period, module._SECONDS = module._SECONDS, 0.0
    try:
        runner.train()
    finally:
        module._SECONDS = period
    after = [h.stream for h in runner.logger.handlers if hasattr(h, 'stream')]
    assert streams == after
    return screen.getvalue()


def test_bar_on_a_terminal(tmp_path: Path) -> None:
    screen = run_with_bar(tmp_path, terminal=True)
    assert 'train 2/2' in screen
    assert '8/8' in screen
    assert 'loss ' in screen and 'lr 1.00e-01' in screen
    # the log lines go through the same console, each whole
    lines = [x for x in screen.splitlines() if 'Epoch(train)' in x]
    assert len(lines) == 8
    assert all('loss: ' in line for line in lines)
    assert screen.rstrip().endswith('\x1b[?25h')  # the cursor is shown


def test_bar_named_twice_is_one_bar(tmp_path: Path) -> None:
    screens = [io.StringIO(), io.StringIO()]
    hooks = [
        ProgressHook(console=Console(file=s, force_terminal=True, width=150))
        for s in screens
    ]
    toy_runner(tmp_path / 'run', Toy(), custom_hooks=hooks).train()
    assert '8/8' in screens[0].getvalue()
    assert screens[1].getvalue() == ''


def test_no_bar_in_a_pipe(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    screen = run_with_bar(tmp_path, terminal=False)
    assert screen == ''
    output = capfd.readouterr().out
    assert output.count('Epoch(train)') == 8
    assert 'eta: ' in output


def test_bar_continues_where_a_resumed_run_stands(tmp_path: Path) -> None:
    toy_runner(tmp_path / 'run', Toy()).train()
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=150)
    toy_runner(
        tmp_path / 'run',
        Toy(),
        load_from=str(tmp_path / 'run' / 'epoch_2.pth'),
        resume=True,
        train_cfg=dict(by_epoch=True, max_epochs=4),
        custom_hooks=[ProgressHook(console=console)],
    ).train()
    assert '8/16' in screen.getvalue()
    assert '0/16' not in screen.getvalue()


class TinyNet(BaseModel):
    """A real backbone, so that a layout that is not kept would show.

    In double precision: what a random start makes of the last digit of a
    float would hide a real difference.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2(0.35, (4,)).double()

    def forward(
        self, inputs: object, data_samples: object = None, mode: str = 'loss'
    ) -> object:
        (out,) = self.backbone(torch.stack(list(inputs)))
        self.last_layout = out.is_contiguous(memory_format=torch.channels_last)
        return {'loss': out.square().mean()}


@pytest.mark.parametrize('ema', [False, True])
def test_channels_last_changes_the_layout_and_not_the_result(
    tmp_path: Path, ema: bool
) -> None:
    weights, layouts = [], []
    for hooks in ([], [dict(type='mnv2_mm.ChannelsLastHook')]):
        torch.manual_seed(0)
        model = TinyNet()
        data = [{'inputs': torch.rand(3, 48, 32).double()} for _ in range(8)]
        average = [EMAHook(strict_load=True)] if ema else []
        toy_runner(
            tmp_path / str(len(hooks)),
            model,
            train_dataloader=dict(
                dataset=data,
                batch_size=4,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
            ),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.001)),
            randomness=dict(seed=0),
            custom_hooks=hooks + average,
        ).train()
        layouts.append(model.last_layout)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert layouts == [False, True]
    torch.testing.assert_close(*weights, rtol=1e-6, atol=1e-9)
