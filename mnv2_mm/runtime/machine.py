"""Name the machine on which something was measured."""

import os
import platform
import shutil
import subprocess
from pathlib import Path


def cores() -> int:
    """Number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def describe() -> str:
    """Name of the machine, kind and number of its processors."""
    # "NVIDIA Jetson ...", "Raspberry Pi ..."
    board = _text(Path('/proc/device-tree/model')).strip('\0 \n')
    names = (board, _phone(), _processor())
    found = dict.fromkeys(name for name in names if name)
    kind = f'{platform.machine()}, {platform.system()}'
    return ', '.join([*found, kind, f'{cores()} cores'])


def _phone() -> str:
    """Android's name of the device."""
    if not shutil.which('getprop'):
        return ''
    command = ['getprop', 'ro.product.model']
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    for line in _text(Path('/proc/cpuinfo')).splitlines():
        key, _, value = line.partition(':')
        if key.strip().lower() in ('model name', 'hardware'):
            return value.strip()
    name = platform.processor()
    return '' if name == platform.machine() else name


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
