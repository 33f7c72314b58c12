"""What the C library does with memory that is given back: keep it, where a training asks for the same at once again.

By default glibc returns large blocks to the system, which then clears them anew for the next step: without that a CPU
trains 2 to 33 % more steps a second (`python bench/network.py`, with `--give-back` and without; docs/performance.md).
"""

import ctypes
import os

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of `mallopt` (malloc.h of glibc)."""

_MOST = 2**31 - 1


def keep_memory() -> bool:
    """Let this process keep what it has once been given, from here on; results are the same bytes.

    Returns:
        Whether the C library could be told: glibc can, others are left as they are.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if tell is None:
        return False
    return all([tell(_MMAP_MAX, 0), tell(_TRIM_THRESHOLD, _MOST), tell(_TOP_PAD, 2**26)])
