"""Let glibc keep freed memory for the next training step.

glibc returns large blocks to the system at once, and the system clears every page
before it gives it out again. This costs a tenth of a training step of MobileNetV2
on a processor. With this setting the process holds as much memory as its largest
step needs, until it ends. It changes the process, so tools call it, never the
library.
"""

import ctypes
import os
import sys

# the names of malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
#: Bytes to be kept, the most that fits.
ALL = 2**31 - 1


def keep_freed_memory() -> bool:
    """Set glibc's thresholds for this process; returns whether that worked.

    Environment variables of glibc that the user has set take precedence.
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
