"""Memory that one batch has freed serves the next one.

Dask sets MALLOC_TRIM_THRESHOLD_ for its workers. With that glibc no longer adapts its thresholds, and every large array
of a batch is mapped anew by the system: page faults then take almost half of a worker's time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_MAPPED: Final = 32 * 2**20  # glibc takes no larger threshold
_KEPT: Final = 256 * 2**20


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to 256 MiB; False where the C library has no such setting."""
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MAPPED)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
