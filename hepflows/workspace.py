"""Large temporary arrays whose memory serves again in the next training step.

The system hands out new memory page by page, and clears it. For arrays of megabytes that live for a moment this costs
more than the arithmetic on them, and the C library's allocator gives such memory back to the system at once.
"""

from __future__ import annotations

import threading
import weakref
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_LARGE = 1 << 19
"""Bytes from which arrays come from the workspace; below, the C library keeps memory itself."""

_LINE = 64


class Workspace:
    """Hands out arrays, and takes their memory back when nobody refers to it any more.

    An array may be turned into a tensor, viewed and cut: its memory is free when the last of these is gone.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[NDArray[np.uint8]]] = {}
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """A contiguous array with arbitrary content."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if size < _LARGE:
            return np.empty(shape, dtype)
        with self._lock:
            kept = self._free
            fitting = min(
                (length for length, buffers in kept.items() if buffers and size <= length <= 2 * size), default=0
            )
            buffer = kept[fitting].pop() if fitting else _aligned(size)
            back = kept.setdefault(len(buffer), [])
        # Made from a buffer, not from an array: so every view refers to this object, and it dies after all of them.
        lent: NDArray[Any] = np.frombuffer(memoryview(buffer)[:size], dtype)  # type: ignore[arg-type] # arrays of bytes are buffers
        weakref.finalize(lent, back.append, buffer).atexit = False
        return lent.reshape(shape)

    @property
    def free_bytes(self) -> int:
        """Memory that is kept and not in use."""
        return sum(length * len(buffers) for length, buffers in self._free.items())

    def release(self) -> None:
        """Keep nothing: memory goes back to the system, that in use as soon as it is free."""
        with self._lock:
            self._free = {}


def _aligned(size: int) -> NDArray[np.uint8]:
    """Memory that starts where a line of the cache starts."""
    memory = np.empty(size + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size]


@cache
def workspace() -> Workspace:
    """The workspace of this process."""
    return Workspace()
