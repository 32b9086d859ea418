"""Name the machine on which something is measured, and what its processor can do."""

import functools
import os
import platform
import shutil
import subprocess
from pathlib import Path

from mnv2_mm.utils.errors import InputError

#: Set to 1 to compute in bfloat16 where it is slow.
FORCE_VARIABLE = 'MNV2_MM_FORCE_BFLOAT16'
#: Widest first; by the flags of Linux.
_INSTRUCTION_SETS = {
    'avx512f': 'AVX-512',
    'avx2': 'AVX2',
    'sve': 'SVE',
    'asimd': 'NEON',
    'neon': 'NEON',
}
#: Flags of processors that multiply bfloat16; the last is ARM's.
_BFLOAT16 = {'avx512_bf16', 'amx_bf16', 'bf16'}


def cores() -> int:
    """Number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def instruction_set() -> str:
    """Name of the widest vector instructions; 'unknown' outside of Linux."""
    flags = _flags()
    names = (name for flag, name in _INSTRUCTION_SETS.items() if flag in flags)
    return next(names, 'unknown')


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; False outside of Linux.

    torch's own ``_is_mkldnn_bf16_supported`` is true for every AVX-512, where oneDNN
    emulates it.
    """
    return not _BFLOAT16.isdisjoint(_flags())


def bfloat16_pays() -> bool:
    """Whether the processor has bfloat16, or :data:`FORCE_VARIABLE` says to use it."""
    return has_bfloat16() or os.environ.get(FORCE_VARIABLE) == '1'


def check_bfloat16() -> None:
    """Raise an InputError where bfloat16 is slower than float32."""
    if not bfloat16_pays():
        raise InputError(
            f'bfloat16 is slow here: {no_bfloat16()}; use float32, or set '
            f'{FORCE_VARIABLE}=1'
        )


def no_bfloat16() -> str:
    """Why a processor computes in float32; measured with AVX2, see docs/speed.md."""
    return (
        f'this processor ({instruction_set()}) has no bfloat16 arithmetic (AVX512_BF16 '
        'or AMX), without which a prediction takes about 30 times as long'
    )


def describe() -> str:
    """Name of the machine, kind and number of its processors."""
    # "NVIDIA Jetson ...", "Raspberry Pi ..."
    board = _text(Path('/proc/device-tree/model')).strip('\0 \n')
    names = (board, _phone(), _cpuinfo('model name', 'hardware') or _processor())
    found = dict.fromkeys(name for name in names if name)
    bfloat16 = ' with bfloat16' * has_bfloat16()
    kind = f'{platform.machine()}, {instruction_set()}{bfloat16}, {platform.system()}'
    return ', '.join([*found, kind, f'{cores()} cores'])


def _phone() -> str:
    """Android's name of the device."""
    if not shutil.which('getprop'):
        return ''
    command = ['getprop', 'ro.product.model']
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    name = platform.processor()
    return '' if name == platform.machine() else name


@functools.cache
def _flags() -> frozenset[str]:
    """What the processor has, by Linux's names."""
    return frozenset(_cpuinfo('flags', 'features').split())


def _cpuinfo(*keys: str) -> str:
    """The first value under one of the keys."""
    for line in _text(Path('/proc/cpuinfo')).splitlines():
        key, _, value = line.partition(':')
        if key.strip().lower() in keys:
            return value.strip()
    return ''


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
