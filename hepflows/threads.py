"""Work on parts of an array in threads; for kernels that release Python's global lock.

Numba's own thread pools are either unsafe for concurrent callers or bring a second OpenMP runtime beside torch's.
The number of threads is torch's, so `torch.set_num_threads` (and ``--threads``) governs everything.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NAME = "hepflows-worker"
_here = threading.local()


@contextmanager
def torch_in_one_thread() -> Iterator[int]:
    """Run torch's own operators in one thread, and `in_parts` in as many as torch had; gives that number.

    On few samples torch's threads cost more than they save, the more so on a busy machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    before = getattr(_here, "threads", None)
    _here.threads = before or threads
    try:
        yield _here.threads
    finally:
        _here.threads = before
        torch.set_num_threads(threads)


def one_thread_here() -> None:
    """Limit torch's operators that a worker of `in_parts` calls to its own thread."""
    torch.set_num_threads(1)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1), thread_name_prefix=_NAME)


if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads: it starts its own.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def parts_of(count: int, *, at_least: int = 1) -> int:
    """Number of parts, at least one, into which `in_parts` divides such a range."""
    # A worker that waited for other workers could wait for ever.
    if threading.current_thread().name.startswith(_NAME):
        return 1
    threads = getattr(_here, "threads", None) or torch.get_num_threads()
    return max(1, min(threads, count // max(1, at_least)))


def in_parts(work: Callable[[int, int], object], count: int, *, at_least: int = 1) -> None:
    """Call `work(first, last)` on consecutive parts of 0 ... count - 1, in parallel.

    Args:
        work: must not depend on how the range is divided.
        count: length of the range.
        at_least: smallest part worth a thread.
    """
    parts = parts_of(count, at_least=at_least)
    if parts == 1:
        work(0, count)
        return
    stops = [count * part // parts for part in range(parts + 1)]
    others = [_pool().submit(work, stops[part], stops[part + 1]) for part in range(1, parts)]
    before = getattr(_here, "threads", None)
    _here.threads = 1  # the others are busy: parts of parts stay here
    try:
        work(stops[0], stops[1])
    finally:
        _here.threads = before
        for other in others:
            other.result()
