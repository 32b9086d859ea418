"""What the command-line tools print and which messages they hide."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator

from mmengine.dist import is_distributed, is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

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


#: Log records that the console is spared; the log file has them all.
_FILE_ONLY = (
    'System environment:',
    'Config:\n',
    'Hooks will be executed in the following order',
    'all SyncBatchNorm (SyncBN) layers in the model will be automatically',
    'paramwise_options -- ',  # three lines for each layer
    # mmengine about its own calls
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
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
        """Refuse a loader without a batch; mmengine's schedulers fail at it."""
        built = super().build_train_loop(loop)
        loader = built.dataloader
        if isinstance(built, EpochBasedTrainLoop) and not len(loader):
            raise InputError(
                f'train_dataloader has {len(loader.dataset)} usable images, too few '
                'for one batch_size in each process with drop_last; lower batch_size'
            )
        return built

    def build_logger(self, *args: object, **kwargs: object) -> MMLogger:
        """Send the long and the known records to the log file only."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(
                    lambda record: not any(x in str(record.msg) for x in _FILE_ONLY)
                )
        return logger
