"""Peak memory of a call: by how much the resident memory of this process grows above what it was before."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MIB = 2**20


def peak_growth_mib(function: Callable[[], object]) -> float | None:
    """Run `function` once and return the growth of the resident memory at its peak, in MiB.

    On Linux the kernel's own high-water mark is reset before the call, so that short peaks count. Where it cannot be
    reset the growth of the whole process' mark is returned if it moved, else None: the peak is then unknown, below
    an earlier one.
    """
    _return_freed_memory()
    if _reset_mark():
        before = _status_bytes("VmRSS")
        function()
        return max(0.0, (_status_bytes("VmHWM") - before) / _MIB)
    before = _process_peak_bytes()
    function()
    growth = _process_peak_bytes() - before
    return growth / _MIB if growth > 0 else None


def available_bytes() -> int | None:
    """Memory that programs can still take without swapping, or None where the system does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _reset_mark() -> bool:
    try:
        _RESET.write_text("5", encoding="ascii")
        return _status_bytes("VmHWM") > 0
    except (OSError, ValueError):
        return False


def _status_bytes(name: str) -> int:
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(name)


def _process_peak_bytes() -> int:
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _return_freed_memory() -> None:
    """Give the C library's free memory back, so that a call that takes it again is seen to grow."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
