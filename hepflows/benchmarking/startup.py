"""How long a fresh process needs for its first result, with and without numba's compiled kernels on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from hepflows.errors import HepflowsError

if TYPE_CHECKING:
    from collections.abc import Sequence


def measure_startup(module: str, arguments: Sequence[str], *, cold: bool = True) -> dict[str, dict[str, float]]:
    """Run ``python -m module arguments`` in fresh processes.

    Args:
        module: prints one JSON object of named seconds as the last line of its output.
        arguments: for the module.
        cold: measure with an empty directory of compiled kernels, too; this compiles everything.

    Returns:
        The module's seconds, and ``process_s`` for the whole process, under ``warm`` (the user's own directory of
        compiled kernels, filled by a run before) and ``cold``.

    Raises:
        HepflowsError: the process failed.
    """
    found = {"warm": run_fresh(module, arguments)}
    if cold:
        with tempfile.TemporaryDirectory(prefix="hepflows-cold-") as directory:
            found["cold"] = run_fresh(module, arguments, cache=directory)
    return found


def run_fresh(module: str, arguments: Sequence[str], *, cache: str | None = None) -> dict[str, float]:
    """Run the module once; see `measure_startup`.

    Args:
        module: as there.
        arguments: as there.
        cache: directory of compiled kernels, or None for the usual one.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = cache
    began = time.perf_counter()
    process = subprocess.run(  # noqa: S603 - this interpreter with our own module
        [sys.executable, "-m", module, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    whole = time.perf_counter() - began
    if process.returncode != 0:
        raise HepflowsError(
            "the process whose start was to be measured failed",
            where=f"python -m {module} {' '.join(arguments)}",
            found=(process.stderr.strip().splitlines() or ["no message"])[-1],
            remedy="leave the start-up out (--no-startup)",
        )
    seconds: dict[str, Any] = json.loads(process.stdout.strip().splitlines()[-1])
    return {**{name: float(value) for name, value in seconds.items()}, "process_s": whole}
