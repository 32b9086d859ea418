"""What the command-line tools print and which messages they hide."""

import contextlib
import functools
import importlib
import io
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.dist import is_distributed, is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import nn

from mnv2_mm.utils.errors import InputError


def is_first_process() -> bool:
    """Whether this process has rank 0, also before the processes are joined."""
    # before that only the launcher knows the rank
    rank = os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or '0'
    return is_main_process() and (is_distributed() or rank == '0')


def print_rank0(text: str) -> None:
    """Print on the first process only."""
    if is_first_process():
        print(text, flush=True)


def print_warnings(messages: list[str]) -> None:
    """Print warnings on the first process only."""
    for message in messages:
        print_rank0(f'warning: {message}')


@contextlib.contextmanager
def suppress_import_output() -> Iterator[None]:
    """Hide what two hosts print at import: that an optional package is missing."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        for line in printed.getvalue().splitlines():
            if 'Could not import OneDL' not in line:
                print_rank0(line)


#: Packages whose records of progress go to the log file only.
_HOSTS = {'mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg', 'pycocotools'}
#: They print. mmdet's module has its own createIndex.
_PRINTING = (
    'mmdet.datasets.api_wrappers.coco_api',
    'pycocotools.coco',
    'pycocotools.cocoeval',
)
#: Warnings that the console is spared.
_FILE_ONLY = (
    # mmengine about its own calls
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    # mmseg's and mmpretrain's metrics have no prefix
    'The prefix is not set in metric class',
    # a recipe without a schedule has none to save
    '_param_scheduler` is True but `self.param_schedulers` is None',
)
_WARNINGS = (
    # torch.meshgrid without indexing=, in mmdet's anchor generators
    r'torch\.meshgrid: in an upcoming release',
    # mmseg says so whenever images are not asked for
    r'The draw is False, it means that the hook',
    # mmdet and mmseg about what drawing and resizing do at the edges
    r'Warning: The (bbox|polygon|circle|line) is out of bounds',
    r'When align_corners=True, the output would more',
    # an optional, faster evaluation of boxes
    r'faster_coco_eval is not installed',
    # mmseg about a default of its cross entropy
    r'Default ``avg_non_ignore`` is False',
    # mmengine about threads and about its own wrapper, once a process
    r'Setting (OMP|MKL)_NUM_THREADS environment variable',
    r'`broadcast_buffers` is deprecated',
    # gradients that lie channels last are copied into torch's buckets, which costs less
    # than the layout saves
    r'Grad strides do not match bucket view strides',
    # mmengine calls the older of two torch interfaces for mixed precision
    r'.*torch\.cuda\.amp\..* is deprecated',
    # setuptools to packages that the hosts import
    r'.*pkg_resources.*',
    # only a matter of speed; there is no accelerator to be fast for
    r"'pin_memory' argument is set as true",
)


def filter_warnings() -> None:
    """Hide harmless warnings; for tools only, a library leaves that to its user."""
    for text in _WARNINGS:
        warnings.filterwarnings('ignore', text)
    warnings.filterwarnings('ignore', category=DeprecationWarning)
    # or a full disk gives a traceback for each record of the log
    logging.raiseExceptions = False


def _warm_ups(schedulers: Mapping | Sequence[Mapping]) -> Iterator[Mapping]:
    """The entries that raise the learning rate from the first step on."""
    for entry in [schedulers] if isinstance(schedulers, Mapping) else schedulers:
        rises = str(entry.get('type')) in ('LinearLR', 'ConstantLR')
        if rises and not entry.get('begin', 0) and entry.get('start_factor', 0) < 1:
            yield entry


class ToolRunner(Runner):
    """mmengine's runner, with a console that a person can read."""

    def load_or_resume(self) -> None:
        """Load or resume; one message for a checkpoint with values of wrong types."""
        try:
            super().load_or_resume()
        except InputError:
            raise
        except Exception as error:  # the state of a training can hold anything
            reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
            raise InputError(
                f'checkpoint {self._load_from or self.work_dir} cannot be loaded '
                f'({reason[:200]}); copy it again, or take another one'
            ) from error

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Refuse a loader without a batch, and a warm-up longer than the training.

        mmengine's schedulers fail at the first. With the second the learning rate never
        arrives, without a message.
        """
        built = super().build_train_loop(loop)
        loader = built.dataloader
        if isinstance(built, EpochBasedTrainLoop) and not len(loader):
            raise InputError(
                f'train_dataloader has {len(loader.dataset)} usable images, too few '
                'for one batch_size in each process with drop_last; lower batch_size'
            )
        steps = getattr(built, 'max_iters', math.inf)  # a loop can be of any kind
        for entry in _warm_ups(self.cfg.get('param_scheduler') or []):
            end = entry.get('end', 0)
            if entry.get('by_epoch', True):
                end *= len(loader)
            if end > steps:
                raise InputError(
                    f'the warm-up ({entry["type"]}) takes {end} steps and the training '
                    f'ends after {steps}, so the learning rate is never reached; set '
                    f'param_scheduler.{entry["type"]}.end to {max(1, steps // 20)} or '
                    'so, or train longer'
                )
        return built

    def build_logger(self, *args: object, **kwargs: object) -> MMLogger:
        """Give the console short lines; the log file has everything."""
        logger = super().build_logger(*args, **kwargs)
        self._lines = _ConsoleLines()
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(self._lines.filter)
                handler.setFormatter(self._lines)
        return logger

    @contextlib.contextmanager
    def _tidy(self) -> Iterator[None]:
        """Send what is printed for COCO to the log; end with the table of classes."""
        modules = []
        if getattr(self.default_scope, 'scope_name', '') == 'mmdet':
            with contextlib.suppress(ImportError):
                modules = [importlib.import_module(name) for name in _PRINTING]
        for module in modules:
            module.print = functools.partial(self.logger.info, stacklevel=2)
        try:
            yield
        finally:
            for module in modules:
                del module.print
        if self._lines.table:
            print_rank0(f'\nclasses in the last evaluation:{self._lines.table}')

    def train(self) -> nn.Module:
        """Train, with a tidy console."""
        with self._tidy():
            return super().train()

    def test(self) -> dict[str, float]:
        """Evaluate, with a tidy console."""
        with self._tidy():
            return super().test()


class _ConsoleLines(logging.Formatter):
    """What the console shows of the log, and how.

    Of the hosts: warnings, and, where there is no terminal for a bar, the lines of
    progress without half of their figures. The last table of the classes is kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = ''

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        text = str(record.msg)
        if record.levelno >= logging.WARNING:
            return not any(part in text for part in _FILE_ONLY)
        if text.startswith('\n+'):
            self.table = text
        if _HOSTS.isdisjoint(Path(record.pathname).parts):
            return True
        return bool(_PROGRESS.match(text)) and not sys.stdout.isatty()

    def format(self, record: logging.LogRecord) -> str:
        """The message alone, or with its level."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            return f'{record.levelname.lower()}: {text}'
        if place := _PROGRESS.match(text):
            return '  '.join([place[0], *_FIGURES.findall(text)])
        return text


_PROGRESS = re.compile(r'(?:Epoch|Iter)\(\w+\) *(?:\[[^]]+\])+(?=.* eta:)')
_FIGURES = re.compile(r'(?<!\w)(?:lr|eta|loss): +\S+')
