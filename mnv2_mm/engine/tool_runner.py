"""mmengine's runner for the tools: its checks, and a console that a person can read."""

import contextlib
import functools
import importlib
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from mmengine.hooks import EarlyStoppingHook, EMAHook
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import nn

from mnv2_mm.engine.fast_training import has_channels_last
from mnv2_mm.engine.progress import ProgressHook
from mnv2_mm.utils.config import is_of_mmengine
from mnv2_mm.utils.console import print_rank0
from mnv2_mm.utils.errors import InputError

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


def _warm_ups(schedulers: Mapping | Sequence[Mapping]) -> Iterator[Mapping]:
    """The entries that raise the learning rate from the first step on."""
    for entry in [schedulers] if isinstance(schedulers, Mapping) else schedulers:
        rises = any(
            is_of_mmengine(entry.get('type', ''), name)
            for name in ('LinearLR', 'ConstantLR')
        )
        if rises and not entry.get('begin', 0) and entry.get('start_factor', 0) < 1:
            yield entry


class ToolRunner(Runner):
    """mmengine's runner, with a console that a person can read."""

    #: Whether the model was laid out for ChannelsLastHook before it was wrapped.
    prepared = False

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

    def wrap_model(self, cfg: dict | None, model: nn.Module) -> nn.Module:
        """Lay a model out before DistributedDataParallel makes its buckets."""
        self.prepared = self.distributed and has_channels_last(self.cfg)
        if self.prepared:
            model.to(memory_format=torch.channels_last)
        return super().wrap_model(cfg, model)

    def _init_model_weights(self) -> None:
        """Initialize in the order of the weights that torch's layout has."""
        if self.prepared:
            self.model.to(memory_format=torch.contiguous_format)
        super()._init_model_weights()

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
            for hook in self.hooks:
                if isinstance(hook, ProgressHook):
                    hook.stop()  # it would wrap what is printed after an interrupt
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


class EvaluationRunner(ToolRunner):
    """The runner of an evaluation: it leaves what belongs to the training alone."""

    def dump_config(self) -> None:
        """Keep the config in the work dir: it is that of the training, not changed."""

    def register_hooks(self, *args: object, **kwargs: object) -> None:
        """Leave out two hooks of a training.

        The weights in a checkpoint are the average already; EMAHook would exchange
        them again, after --tta and --optimize changed the model. EarlyStoppingHook
        builds the training set.
        """
        super().register_hooks(*args, **kwargs)
        self._hooks = [
            hook
            for hook in self._hooks
            if not isinstance(hook, EMAHook | EarlyStoppingHook)
            or getattr(hook, 'evaluate_on_origin', False)  # mmpretrain evaluates both
        ]


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
