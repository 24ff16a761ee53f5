"""What the C library does with memory that training frees: keep it for the next step."""

import ctypes
import platform

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST = 2**31 - 1  # an int


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, rather than hand it back to the system; whether the C library could.

    A training step allocates and frees the same hundreds of megabytes as the step before. By default glibc maps each large
    tensor anew, and the system clears every page of it. What is kept cannot be given back: call it in a process that trains
    and does little else. Only glibc has the switch (mallopt(3)); elsewhere nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0) == 1 and mallopt(_TRIM_THRESHOLD, _LARGEST) == 1)
