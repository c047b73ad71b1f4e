"""The program `hepflows_bench` of the C++ client: built once, then run beside the Python host."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import exporters
from exporters.cpp_runtime import prepared
from hepflows.errors import HepflowsError, MissingDependencyError

_ROOT = Path(__file__).resolve().parent.parent
_SOURCE = Path(exporters.__file__).parent / "cpp"


def build_program() -> Path:
    """Build it in ``build/``, with the ONNX Runtime in ``ONNXRUNTIME_DIR``, ``build/onnxruntime`` or the system.

    Raises:
        MissingDependencyError: there is no compiler, no CMake or no ONNX Runtime for C++.
    """
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            raise MissingDependencyError(f"there is no {tool}")
    place = os.environ.get("ONNXRUNTIME_DIR") or prepared(_ROOT / "build" / "onnxruntime")
    found = [f"-DONNXRUNTIME_DIR={place}"] if place else []
    # a directory for each place of the runtime: CMake remembers what it has found
    directory = _ROOT / "build" / f"bench-{hashlib.sha256(repr(found).encode()).hexdigest()[:8]}"
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF", *found]
    _run("cmake", "-S", str(_SOURCE), "-B", str(directory), *options)
    _run("cmake", "--build", str(directory), "--target", "hepflows_bench")
    return directory / "hepflows_bench"


def run_program(program: Path, file: Path, batch: int, *, threads: int, repeats: int) -> dict[str, Any]:
    """Time a file at one batch: ``ms_per_event``, ``load_seconds``, ``onnxruntime`` and more.

    Raises:
        HepflowsError: the program failed.
    """
    answer = _run(
        str(program), str(file), "--batches", str(batch), "--threads", str(threads), "--repeats", str(repeats)
    )
    found: dict[str, Any] = json.loads(answer)
    return {**found, **found["rows"][0]}


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own sources
    if done.returncode:
        raise HepflowsError(
            "the C++ client cannot be built or run",
            where=Path(command[0]).name,
            found=" ".join((done.stderr.strip() or done.stdout.strip())[-300:].split()),
        )
    return done.stdout
