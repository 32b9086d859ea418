"""What the command-line tools print and which messages they hide.

mmengine logs several screens before a training starts, and the hosts warn of
things that are harmless and that the user cannot change. The log file keeps all
of it; the console shows what a person needs.
"""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator

from mmengine.dist import is_distributed, is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import Runner


def print_rank0(text: str) -> None:
    """Print on the first process only."""
    # before the processes are joined only the launcher knows the rank
    rank = os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or '0'
    if is_main_process() and (is_distributed() or rank == '0'):
        print(text, flush=True)


def print_warnings(messages: list[str]) -> None:
    """Print warnings on the first process only."""
    for message in messages:
        print_rank0(f'warning: {message}')


@contextlib.contextmanager
def suppress_import_output() -> Iterator[None]:
    """Spare the console what the hosts print while they are imported.

    Two of them print that an optional package of the onedl family is missing.
    """
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
    # screens full of text that nobody reads while a training starts
    'System environment:',
    'Config:\n',
    'Hooks will be executed in the following order',
    'all SyncBatchNorm (SyncBN) layers in the model will be automatically',
    'paramwise_options -- ',  # three lines for each layer
    # mmengine about its own calls
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    # a recipe without a schedule has none to save
    '`save_param_scheduler` is True but `self.param_schedulers` is None',
)
_WARNINGS = (
    # torch.meshgrid without indexing=, in mmdet's anchor generators
    (r'torch\.meshgrid: in an upcoming release', UserWarning),
    # mmseg says so whenever images are not asked for
    (r'The draw is False, it means that the hook', UserWarning),
    # mmdet and mmseg about what drawing and resizing do at the edges
    (r'Warning: The (bbox|polygon|circle|line) is out of bounds', UserWarning),
    (r'When align_corners=True, the output would more', UserWarning),
    # an optional, faster evaluation of boxes
    (r'faster_coco_eval is not installed', UserWarning),
    # mmseg about a default of its cross entropy
    (r'Default ``avg_non_ignore`` is False', UserWarning),
    # mmengine about threads and about its own wrapper, once a process
    (r'Setting (OMP|MKL)_NUM_THREADS environment variable', UserWarning),
    (r'`broadcast_buffers` is deprecated', FutureWarning),
    # gradients that lie channels last are copied into torch's buckets, which
    # costs less than the layout saves
    (r'Grad strides do not match bucket view strides', UserWarning),
    # mmengine calls the older of two torch interfaces for mixed precision
    (r'.*torch\.cuda\.amp\..* is deprecated', FutureWarning),
    # setuptools to packages that the hosts import
    (r'.*pkg_resources.*', UserWarning),
    (r'.*', DeprecationWarning),
    # only a matter of speed; there is no accelerator to be fast for
    (r"'pin_memory' argument is set as true", UserWarning),
)


def filter_warnings() -> None:
    """Hide warnings that are known and harmless.

    For command lines only: a library leaves the filters to its user.
    """
    for text, category in _WARNINGS:
        warnings.filterwarnings('ignore', text, category)


class ToolRunner(Runner):
    """mmengine's runner, with a console that a person can read."""

    def build_logger(self, *args: object, **kwargs: object) -> MMLogger:
        """Send the long and the known records to the log file only."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(_for_console)
        return logger


def _for_console(record: logging.LogRecord) -> bool:
    text = str(record.msg)
    return not any(known in text for known in _FILE_ONLY)
