"""Keep memory that a training step frees for the next one.

glibc gives large blocks back to the system at once, and the system clears
every page before it hands it out again: a tenth of a training step of
MobileNetV2 on the processor. A process told to keep them takes as much memory
as its largest step needs, until it ends.
"""

import ctypes
import os
import sys

# the names of malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
#: Bytes to be kept, the most that fits.
ALL = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the allocator of this process; returns whether it listened.

    What the user has set by an environment variable of glibc counts.
    """
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:  # not glibc
        return False
    options = {
        'MALLOC_TRIM_THRESHOLD_': (M_TRIM_THRESHOLD, ALL),
        'MALLOC_MMAP_MAX_': (M_MMAP_MAX, 0),
    }
    return all(
        mallopt(*option) == 1
        for name, option in options.items()
        if name not in os.environ
    )
