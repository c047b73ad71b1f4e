"""The runtimes of a generator as sides of a comparison: torch, our kernels, ONNX Runtime in Python and in C++."""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.export_cpp import run_program
from benchmarks.options import say
from benchmarks.sides import Side
from exporters.dependencies import run, session
from hepflows import plain
from hepflows.benchmarking.artefact import SEED
from hepflows.benchmarking.timing import lap, time_alternately
from hepflows.philox import normal_noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.export_subjects import Subject
    from hepflows.benchmarking.timing import Effort

_LONGEST_S, _PATIENCE_S = 2.0, 8.0
"""Runs that are too long for the comparison of hosts, and how long one comparison goes on."""


@dataclass(frozen=True, kw_only=True)
class File:
    """An exported file, opened.

    Attributes:
        path: of the file.
        subject: the generator it was made from.
        session: of ONNX Runtime.
    """

    path: Path
    subject: Subject
    session: Any

    @classmethod
    def open(cls, path: Path, subject: Subject, *, threads: int) -> File:
        """Load a file."""
        return cls(path=path, subject=subject, session=session(str(path), threads=threads))

    def call(self, batch: int) -> Callable[[], object]:
        """One run on conditions and noise that were drawn before."""
        return partial(run, self.session, self.subject.columns(batch), noise_of(self.subject, batch))


def noise_of(subject: Subject, batch: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Normal numbers of a batch."""
    return normal_noise(SEED, 0, batch, subject.generator.noise_dim)


def numba_side(subject: Subject) -> Side:
    """`sample` of the generator with our compiled kernels, noise and all."""

    def call(batch: int) -> Callable[[], object]:
        return partial(subject.generator.sample, subject.first(batch), n=batch, seed=SEED)

    return Side(call=call)


def torch_side(subject: Subject) -> Side:
    """The module that is exported, in float32 and in torch's own operators only."""
    module = subject.generator.sampling_module()

    def call(batch: int) -> Callable[[], object]:
        cond, noise = torch.from_numpy(subject.columns(batch)), torch.from_numpy(noise_of(subject, batch))

        def evaluate() -> None:
            with torch.no_grad(), without_kernels():
                module(cond, noise)

        return evaluate

    return Side(call=call)


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """Make modules take the path of tensors that compiled kernels cannot read, a GPU's for instance."""
    with patch.object(plain, "is_eager", new=lambda *_: False):
        yield


def time_hosts(
    program: Path, files: Mapping[str, File], batches: Sequence[int], *, threads: int, quick: bool
) -> dict[str, dict[str, Any]]:
    """Time each file in the Python host and in the C++ host, which take turns; runs above two seconds are left out.

    Returns:
        For each file by batch: ``cpp_ms`` and ``python_ms`` an event, medians over the rounds of their medians, and
        ``cpp_over_python``, the median of the rounds' ratios.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, file in files.items():
        for batch in batches:
            say(f"C++ and Python host: {name}, batch {batch}")
            call = file.call(batch)
            wall = min(lap(call).wall_s[0], lap(call).wall_s[0])
            if wall > _LONGEST_S:
                continue
            repeats = max(3, min(200, int((0.1 if quick else 0.5) / wall)))
            python: list[float] = []
            cpp: list[float] = []
            began = time.perf_counter()
            while not cpp or (len(cpp) < (2 if quick else 7) and time.perf_counter() - began < _PATIENCE_S):
                python.append(1e3 * statistics.median(lap(call).wall_s[0] for _ in range(repeats)) / batch)
                answer = run_program(program, file.path, batch, threads=threads, repeats=repeats)
                cpp.append(float(answer["ms_per_event"]))
            found.setdefault(name, {})[str(batch)] = {
                "cpp_ms": statistics.median(cpp),
                "python_ms": statistics.median(python),
                "cpp_over_python": statistics.median(c / p for c, p in zip(cpp, python, strict=True)),
                "cpp_load_seconds": float(answer["load_seconds"]),
                "onnxruntime": str(answer["onnxruntime"]),
            }
    return found


def time_streaming(file: File, stored: int, effort: Effort) -> dict[str, float]:
    """Milliseconds to read as many bytes as the file's weights have once from memory, beside a run at batch 1.

    Both take turns, so that neither finds its numbers in the caches of the processor.
    """
    weights = np.ones(max(1, stored // 8))
    # laps of one call: a second reading in a row would find part of the weights in the processor's caches
    timings = time_alternately({"stream": weights.sum, "run": file.call(1)}, replace(effort, lap_s=0.0))
    stream, whole = timings["stream"].value(), timings["run"].value()
    least = timings["run"].value("least") / timings["stream"].value("least")
    return {
        "bytes": stored,
        "stream_ms": 1e3 * stream,
        "run_ms": 1e3 * whole,
        "run_over_stream": whole / stream,
        "run_over_stream_least": least,
    }


def is_finite(file: File, batch: int) -> bool:
    """Whether all events of a batch are finite."""
    return bool(np.isfinite(run(file.session, file.subject.columns(batch), noise_of(file.subject, batch))).all())


def load_seconds(file: File, *, threads: int, repeats: int) -> float:
    """Median time of opening a file."""
    return statistics.median(lap(partial(session, str(file.path), threads=threads)).wall_s[0] for _ in range(repeats))
