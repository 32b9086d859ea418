"""What the command-line tools print and which messages they hide; no heavy imports."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


def is_first_process() -> bool:
    """Whether this process has rank 0, also before the processes are joined."""
    dist = sys.modules.get('mmengine.dist')
    if dist and dist.is_distributed():
        return dist.is_main_process()
    # before that only the launcher knows the rank
    return (os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or '0') == '0'


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


#: Warnings that a command line spares its user.
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
    # mmseg about its own call, and about a default of its cross entropy
    r'``build_loss`` would be deprecated',
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
