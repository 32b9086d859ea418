"""Keep a second training out of a work dir, whose checkpoints it would overwrite."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from platform import node

from filelock import FileLock, Timeout

from mnv2_mm.utils.console import is_first_process
from mnv2_mm.utils.errors import InputError

#: Data-loader workers inherit the lock; those of a killed process end after five.
_SECONDS = 10.0


@contextlib.contextmanager
def lock_work_dir(work_dir: str, *, seconds: float = _SECONDS) -> Iterator[None]:
    """Hold the lock of a folder; the first process of a distributed run holds it.

    The system releases the lock of a killed process.

    Raises:
        InputError: another process still has it after ``seconds``.
    """
    if not is_first_process():
        yield
        return
    folder = Path(work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / '.training.txt'
    lock = FileLock(folder / '.training.lock')
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        name = owner.read_text() if owner.exists() else 'another process'
        raise InputError(
            f'a training already runs in {work_dir} ({name}); wait for its end, or '
            'give this one another folder by --work-dir'
        ) from error
    since = time.strftime('%Y-%m-%d %H:%M')
    owner.write_text(f'process {os.getpid()} on {node()}, since {since}')
    try:
        yield
    finally:
        lock.release()
