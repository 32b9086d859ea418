"""Progress bar for training, validation and test on a terminal.

mmengine prints a line every few iterations and nothing between them. On a terminal
this hook keeps one bar below the log, with loss, learning rate, elapsed time and time
left. In a file or a pipe mmengine's own lines hold the same figures (``eta``). A line
an epoch has its mean loss and the metrics.
"""

import atexit
import contextlib
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mnv2_mm.registry import HOOKS

_SECONDS = 0.2  # between two drawings
_WIDTH = 79  # of a line of metrics


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are one number; hosts also give lists and tables."""
    found = {}
    for key, value in metrics.items():
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            found[key] = float(value)
    return found


@HOOKS.register_module()
class ProgressHook(Hook):
    """Keep a bar below the log lines on a terminal; log a line an epoch."""

    # after RuntimeInfoHook (loss, lr), before CheckpointHook (may be slow)
    priority = 'BELOW_NORMAL'

    def __init__(self, *, console: Console | None = None) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._streams: list[tuple[logging.StreamHandler, TextIO]] = []
        self._tasks: dict[str, TaskID] = {}  # by mode: train, val, test
        self._drawn = 0.0
        self._line = ''  # of an epoch, until it is known whether a validation follows

    def _start(self, runner: Runner) -> bool:
        """Show the bar if there is a terminal; True if there is one."""
        if self._progress is not None:
            return True
        bars = (h for h in runner.hooks if isinstance(h, ProgressHook))
        if next(bars, self) is not self:
            return False  # named twice: one bar is enough
        console = self._console or Console(file=sys.stdout)
        if not is_main_process() or not console.is_terminal:
            return False
        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn('{task.fields[note]}'),
            TimeElapsedColumn(),
            TextColumn('left'),
            TimeRemainingColumn(),
            console=console,
            # no thread: data-loader workers are forked from this process
            auto_refresh=False,
            speed_estimate_period=120,
            redirect_stdout=self._console is None,
            redirect_stderr=self._console is None,
        )
        for handler in runner.logger.handlers:
            # a FileHandler is a StreamHandler too
            if type(handler) is logging.StreamHandler:
                self._streams.append((handler, handler.stream))
                handler.setStream(FileProxy(console, handler.stream))
        self._progress.start()
        console.show_cursor(True)  # a killed run must not leave it hidden
        atexit.register(self.stop)
        return True

    def stop(self) -> None:
        """Remove the bar and give the log its stream back."""
        if self._progress is None:
            return
        self._draw()
        self._progress.stop()
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams.clear()
        self._tasks.clear()
        self._progress = None
        atexit.unregister(self.stop)

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._progress.refresh()

    def _show_train(self, visible: bool) -> None:
        if 'train' in self._tasks:
            self._progress.update(self._tasks['train'], visible=visible)

    def _add(self, mode: str, total: int, *, done: int = 0) -> None:
        add = self._progress.add_task
        self._tasks[mode] = add(mode, total=total, completed=done, note='')
        self._draw()

    def before_train(self, runner: Runner) -> None:
        """Show the bar, at the iteration where a resumed run stands."""
        if self._start(runner):
            self._add('train', runner.max_iters, done=runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Remove the bar."""
        self._log(runner)
        self.stop()

    def before_train_epoch(self, runner: Runner) -> None:
        """Log the epoch before, which had no validation."""
        self._log(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Note the mean loss."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._line = f'epoch {runner.epoch + 1}/{runner.max_epochs}'
            self._line += _mean_loss(runner, len(runner.train_dataloader))

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Log the metrics in one line with the mean loss."""
        super().after_val_epoch(runner, metrics)
        if isinstance(runner._train_loop, IterBasedTrainLoop):
            self._line = f'iter {runner.iter}/{runner.max_iters}'
            self._line += _mean_loss(runner, runner.train_loop.val_interval)
        for key, value in scalars(metrics or {}).items():
            name = key.rpartition('/')[2].removeprefix('bbox_')
            text = f'{self._line}  {name} {value:.4g}'
            shown = value != -1 and not name.endswith('_precision')
            if shown and len(text) <= _WIDTH:
                self._line = text
        self._log(runner)

    def _log(self, runner: Runner) -> None:
        """Log the line, if there is one that was not."""
        if self._line:
            runner.logger.info(self._line)
        self._line = ''

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """Show a bar for a validation, in place of that of the training, or a test."""
        if mode != 'train' and self._start(runner):
            self._show_train(False)
            loader = runner.val_dataloader if mode == 'val' else runner.test_dataloader
            self._add(mode, len(loader))

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        """Advance, in training with the newest loss and learning rate."""
        if mode not in self._tasks:
            return
        training = mode == 'train'
        fields = dict(completed=(runner.iter if training else batch_idx) + 1)
        due = time.monotonic() - self._drawn > _SECONDS
        if due and training:
            fields.update(description='train', note=_note(runner))
            if getattr(runner.train_loop, 'max_epochs', 1) > 1:
                fields['description'] += f' {runner.epoch + 1}/{runner.max_epochs}'
        self._progress.update(self._tasks[mode], **fields)
        if due:
            self._draw()

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """Remove the bar of a validation or test."""
        if mode == 'train' or mode not in self._tasks:
            return
        self._progress.remove_task(self._tasks.pop(mode))
        self._show_train(True)
        self._draw()
        if not self._tasks:
            self.stop()


def _mean_loss(runner: Runner, steps: int) -> str:
    losses = runner.message_hub.log_scalars.get('train/loss')
    return f'  loss {losses.mean(steps):.3f}' if losses else ''


def _note(runner: Runner) -> str:
    """Loss and learning rate of this iteration, as mmengine recorded them."""
    scalars = runner.message_hub.log_scalars
    return '  '.join(
        f'{name} {scalars[f"train/{name}"].current():{form}}'
        for name, form in (('loss', '.3f'), ('lr', '.2e'))
        if f'train/{name}' in scalars
    )
