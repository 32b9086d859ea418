"""Picklable steps of benchmark cases, which processes of their own import."""

import functools
import os
import time
from pathlib import Path

from mnv2_mm.utils.errors import InputError


def append(path: Path, text: str) -> None:
    with path.open('a') as file:
        file.write(text)


def spin(seconds: float) -> None:
    """Use the processor, whose time counts with one thread."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def make(path: Path, text: str) -> functools.partial:
    append(path, f'({text})')
    return functools.partial(append, path, text)


def fail(message: str) -> None:
    raise InputError(message)


def report_environment(path: Path) -> functools.partial:
    rank, count = os.environ['RANK'], os.environ['WORLD_SIZE']
    import torch

    text = f'{rank} of {count}, {torch.get_num_threads()} threads\n'
    return functools.partial(append, path, text)
