"""Memory that a training step frees stays with the process for the next one."""

import ctypes
import sys
from functools import lru_cache

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST = 256 << 20, 1 << 30  # bytes
_LARGEST_OF_OLD = 32 << 20  # what older versions of glibc take at most


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let the C library keep up to 256 MiB of what was freed, for the rest of the process.

    A step takes and frees a few tensors of a megabyte. By default glibc gives these back to the
    system and gets them anew, empty, page by page: hundreds of page faults per step, which take
    a few per cent of the training of a small CNN.

    Returns:
        Whether the C library knows how; elsewhere nothing changes.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    reused = mallopt(_M_MMAP_THRESHOLD, _LARGEST) or mallopt(_M_MMAP_THRESHOLD, _LARGEST_OF_OLD)
    return bool(reused and mallopt(_M_TRIM_THRESHOLD, _KEPT))
