"""Run tools/train.py for an experiment of several trainings."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mnv2_mm.utils.cli import repository_root
from mnv2_mm.utils.curves import Curves, read_curves
from mnv2_mm.utils.errors import InputError

#: Record of a finished training in its work dir.
RESULT = 'result.json'


def holds_training(out: Path) -> bool:
    """Whether a folder of an experiment has a training that was begun or finished."""
    files = ('*.pth', RESULT)
    return any(path for name in files for path in out.glob(f'*_seed*/{name}'))


def run_training(
    config: str | os.PathLike, work_dir: Path, seed: int, options: Sequence[str] = ()
) -> Curves:
    """Train in a process of its own; goes on where an earlier one stopped.

    Args:
        config: Config file.
        work_dir: Where logs and checkpoints go.
        seed: Of the random numbers.
        options: ``KEY=VALUE`` of ``--cfg-options``.

    Raises:
        InputError: the training ended with an error, which it has printed.
    """
    arguments = [config, '--resume', '--seed', seed, '--work-dir', work_dir]
    if options:
        arguments += ['--cfg-options', *options]
    process = [sys.executable, repository_root() / 'tools/train.py', *arguments]
    started = subprocess.Popen([*map(str, process)])
    try:
        code = started.wait()
    except KeyboardInterrupt:  # of the training too, which says so
        started.wait()
        sys.exit(130)
    if code:
        kept = any(work_dir.glob('*.pth'))
        remedy = '; the same command goes on from here' if kept else ''
        raise InputError(
            f'the training {work_dir} ended with {code}, see above{remedy}'
        )
    return read_curves(work_dir)
