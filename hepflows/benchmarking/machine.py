"""What a timing was measured on: processor, memory, system, libraries, threads."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

LIBRARIES = ("hepflows", "torch", "numpy", "scipy", "numba")
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
              "NUMBA_CPU_NAME", "NUMBA_DISABLE_JIT", "NVPL_BLAS_DEBUG_CPU_TYPE")  # fmt: skip


def describe_machine(*, libraries: Iterable[str] = LIBRARIES, device: str = "cpu") -> dict[str, Any]:
    """Everything that a figure depends on besides the code, JSON-able.

    Args:
        libraries: distributions whose versions are wanted; those that are not installed are null.
        device: torch device, described as well if it is a GPU.
    """
    import torch
    from threadpoolctl import threadpool_info

    description: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in libraries},
        "torch_threads": torch.get_num_threads(),
        "torch_vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "blas": [_pool(pool) for pool in threadpool_info() if pool["user_api"] == "blas"],
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "load_average": _load(),
    }
    if device.startswith("cuda"):
        description["gpu"] = torch.cuda.get_device_name(device)
    return description


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """Name of the processor as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def usable_cores() -> int:
    """Cores that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _load() -> list[float] | None:
    """Processes that wanted to run in the last 1, 5 and 15 minutes: more than the cores means a busy machine."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def _pool(pool: dict[str, Any]) -> str:
    parts = (pool.get("internal_api"), pool.get("version"), pool.get("architecture"), f"{pool['num_threads']} threads")
    return " ".join(str(part) for part in parts if part)
