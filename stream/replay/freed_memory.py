"""Memory that goes back to the system when it is freed, and not into heaps that fragments keep."""

import ctypes

_M_MMAP_THRESHOLD = -3
"""Of malloc.h."""
MAPPED_BYTES = 1 << 20
"""From so many on a block is mapped by itself. Unless it is fixed, glibc raises this bound to the
largest block that was ever freed, up to 32 MB: arrays that come and go then lie in the heaps of
several threads, which cost a build 60 MB."""


def return_freed_blocks() -> None:
    """From now on, in this process. Where the C library is not glibc nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
