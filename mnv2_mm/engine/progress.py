"""Progress bar for training, validation and test on a terminal.

mmengine prints a line every few iterations and nothing between them. On a
terminal this hook keeps one bar below the log, with loss, learning rate, elapsed
time and time left. Where the output is a file or a pipe there is no bar:
mmengine's own lines hold the same figures and the time left (``eta``).
"""

import atexit
import io
import logging
import sys
import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mnv2_mm.registry import HOOKS

_SECONDS = 0.2  # between two drawings


class _AboveBar(io.TextIOBase):
    """A stream that writes whole lines above the bar of a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = ''

    def write(self, text: str) -> int:
        """Print the lines that are complete; keep the rest."""
        *lines, self._rest = (self._rest + text).split('\n')
        for line in lines:
            # soft_wrap: log lines keep their length, the terminal wraps them
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)

    def flush(self) -> None:
        """Nothing to do: an unfinished line waits for its end."""

    def isatty(self) -> bool:
        """Colors are kept."""
        return True


@HOOKS.register_module()
class ProgressHook(Hook):
    """Keep a bar below the log lines; silent where there is no terminal."""

    # after RuntimeInfoHook (loss, lr), before CheckpointHook (may be slow)
    priority = 'BELOW_NORMAL'

    def __init__(self, *, console: Console | None = None) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._streams: list[tuple[logging.StreamHandler, object]] = []
        self._task: TaskID | None = None
        self._extra: TaskID | None = None
        self._drawn = 0.0

    # -- the bar -----------------------------------------------------------
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
                handler.setStream(_AboveBar(console))
        self._progress.start()
        console.show_cursor(True)  # a killed run must not leave it hidden
        atexit.register(self._stop)
        return True

    def _stop(self) -> None:
        """Remove the bar and give the log its stream back."""
        if self._progress is None:
            return
        self._draw(force=True)
        self._progress.stop()
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams.clear()
        self._progress = self._task = self._extra = None
        atexit.unregister(self._stop)

    def _draw(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._progress and (force or now - self._drawn > _SECONDS):
            self._drawn = now
            self._progress.refresh()

    def _add(self, text: str, total: int, *, done: int = 0) -> TaskID:
        task = self._progress.add_task(text, total=total, completed=done, note='')
        self._draw(force=True)
        return task

    # -- training ----------------------------------------------------------
    def before_train(self, runner: Runner) -> None:
        """Show the bar, at the iteration where a resumed run stands."""
        if self._start(runner):
            self._task = self._add('train', runner.max_iters, done=runner.iter)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: dict | None = None,
    ) -> None:
        """Advance, with the newest loss and learning rate."""
        if self._task is None:
            return
        if time.monotonic() - self._drawn <= _SECONDS:
            self._progress.update(self._task, completed=runner.iter + 1)
            return
        text = 'train'
        if getattr(runner.train_loop, 'max_epochs', 1) > 1:
            text += f' {runner.epoch + 1}/{runner.max_epochs}'
        self._progress.update(
            self._task, completed=runner.iter + 1, description=text, note=_note(runner)
        )
        self._draw()

    def after_train(self, runner: Runner) -> None:
        """Take the bar away."""
        self._stop()

    # -- validation and test -----------------------------------------------
    def _before(self, runner: Runner, text: str, loader: object) -> None:
        if self._start(runner):
            self._extra = self._add(text, len(loader))

    def _advance(self, batch_idx: int) -> None:
        if self._extra is not None:
            self._progress.update(self._extra, completed=batch_idx + 1)
            self._draw()

    def _after(self) -> None:
        if self._extra is not None:
            self._progress.remove_task(self._extra)
            self._extra = None
            self._draw(force=True)
        if self._task is None:
            self._stop()

    def before_val_epoch(self, runner: Runner) -> None:
        """Add a second bar."""
        self._before(runner, 'validate', runner.val_dataloader)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: object = None,
    ) -> None:
        """Advance the second bar."""
        self._advance(batch_idx)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Take the second bar away."""
        self._after()

    def before_test_epoch(self, runner: Runner) -> None:
        """Show the bar."""
        self._before(runner, 'test', runner.test_dataloader)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: object = None,
    ) -> None:
        """Advance."""
        self._advance(batch_idx)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Take the bar away."""
        self._after()


def _note(runner: Runner) -> str:
    """Loss and learning rate of this iteration, as mmengine recorded them."""
    scalars = runner.message_hub.log_scalars
    parts = []
    for name, form in (('loss', '.3f'), ('lr', '.2e')):
        history = scalars.get(f'train/{name}')
        if history is not None:
            parts.append(f'{name} {history.current():{form}}')
    return '  '.join(parts)
