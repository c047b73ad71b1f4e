"""Work on parts of an array in threads; for kernels that release Python's global lock.

Numba's own thread pools are either unsafe for concurrent callers or bring a second OpenMP runtime beside torch's.
The number of threads is torch's, so `torch.set_num_threads` (and ``--threads``) governs everything.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "hepflows-worker"


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1), thread_name_prefix=_NAME)


if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads: it starts its own.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_parts(work: Callable[[int, int], object], count: int, *, at_least: int = 1) -> None:
    """Call `work(first, last)` on consecutive parts of 0 ... count - 1, in parallel.

    Args:
        work: must not depend on how the range is divided.
        count: length of the range.
        at_least: smallest part worth a thread.
    """
    # A worker that waited for other workers could wait for ever.
    if threading.current_thread().name.startswith(_NAME):
        work(0, count)
        return
    parts = max(1, min(torch.get_num_threads(), count // max(1, at_least)))
    stops = [count * part // parts for part in range(parts + 1)]
    others = [_pool().submit(work, stops[part], stops[part + 1]) for part in range(1, parts)]
    try:
        work(stops[0], stops[1])
    finally:
        for other in others:
            other.result()
