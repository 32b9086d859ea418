"""Run tools/train.py for an experiment of several trainings."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mnv2_mm.utils.cli import repository_root
from mnv2_mm.utils.curves import Curves, read_curves
from mnv2_mm.utils.errors import InputError


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
    code = subprocess.run([*map(str, process)], check=False).returncode
    if code:
        raise InputError(
            f'the training {work_dir} ended with {code}, see above; the same command '
            'goes on from here'
        )
    return read_curves(work_dir)
