"""Hooks of a training: progress and the layout of tensors."""

import io
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from rich.console import Console
from toy_runner import Toy, toy_runner

from mnv2_mm.engine import ProgressHook
from mnv2_mm.engine.tool_runner import ToolRunner
from mnv2_mm.models import MobileNetV2


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


def test_one_line_an_epoch_with_its_mean_loss(tmp_path: Path) -> None:
    hook = ProgressHook()
    runner = toy_runner(tmp_path / 'run', Toy(), custom_hooks=[hook])
    runner.train()
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    # the log has means over all iterations until then
    first, both = (
        float(re.search(rf'\[{n}\]\[4/4\].* loss: (\S+)', text)[1]) for n in (1, 2)
    )
    found = re.findall(r'epoch (\d)/2  loss (\S+)', text)
    assert [epoch for epoch, _ in found] == ['1', '2']
    for (_, loss), mean in zip(found, (first, 2 * both - first), strict=True):
        assert float(loss) == pytest.approx(mean, abs=2e-3)


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
    assert not re.search(r'\b0/16', screen.getvalue())


class Interrupted(Toy):
    def forward(self, *args: object, **kwargs: object) -> object:
        raise KeyboardInterrupt


def test_an_interrupt_removes_the_bar(tmp_path: Path) -> None:
    """It would break the lines that are printed after it."""
    screen = io.StringIO()
    hook = ProgressHook(console=Console(file=screen, force_terminal=True, width=40))
    model = Interrupted()
    runner = toy_runner(tmp_path / 'run', model, kind=ToolRunner, custom_hooks=[hook])
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert '0/8' in screen.getvalue()
    end = len(screen.getvalue())
    runner.logger.info('word ' * 20)
    assert len(screen.getvalue()) == end


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
