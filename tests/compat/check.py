"""Checks exported files with the onnxruntime of this environment: ``python tests/compat/check.py FILE ...``.

Only numpy, onnxruntime and this repository's own code are needed. One JSON line a run:
{runtime, version, file, optimisation, threads, off_by, allowed, failures, host_failures}. `failures` come from this
repository's own client, `host_failures` from sessions with the runtime's default options, as a C++ host opens them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from exporters import OnnxGenerator, verify
from exporters.dependencies import open_model, require_runtime, run
from exporters.golden import agreement, disagreements, read_golden
from exporters.manifest import Names, read_manifest
from exporters.tolerance import Quantiles
from hepflows.errors import HepflowsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCHES: Final = (None, 1, 7, None)  # None: all events at once; twice, since runs may differ
_THREADS: Final = (1, 2)
_EVENTS: Final = 200


def check(path: Path) -> Iterator[dict[str, Any]]:
    """Outcome of each way to run one file."""
    verified = verify(path)
    for threads in _THREADS:
        sampled = _sampled(path, threads)
        for optimise in (True, False):
            ours = open_model(path, optimise=optimise, threads=threads)
            off_by, failures = _golden(path, ours)
            _, host_failures = _golden(path, _as_a_host(path, optimise=optimise, threads=threads))
            yield {
                "file": path.stem,
                "optimisation": "on" if optimise else "off",
                "threads": threads,
                "off_by": off_by,
                "allowed": verified.bound.maximum,
                "failures": [*verified.failures, *failures, *sampled],
                "host_failures": host_failures,
            }


def _as_a_host(path: Path, *, optimise: bool, threads: int) -> Any:
    """A session whose options are the runtime's own but for these two."""
    runtime = require_runtime()
    options = runtime.SessionOptions()
    level = runtime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _golden(path: Path, session: Any) -> tuple[float, list[str]]:
    """Largest difference to the golden events over several batch sizes, and what is wrong, in words."""
    names = Names.of(path)
    golden, tolerance = read_golden(names.golden), read_manifest(names.manifest)["metadata"]["tolerance"]
    bound = Quantiles.from_dict(tolerance["golden_bound"])
    cond, noise = golden.cond.astype(np.float32), golden.noise.astype(np.float32)
    largest, failures = 0.0, []
    for batch in _BATCHES:
        step = batch or len(cond)
        parts = [run(session, cond[i : i + step], noise[i : i + step]) for i in range(0, len(cond), step)]
        found = agreement(np.concatenate(parts), golden.expected, steps=tolerance["steps"])
        largest = max(largest, found.differences.maximum)
        failures += [f"batches of {step}: {words}" for words in disagreements(found, bound)]
    return largest, failures


def _sampled(path: Path, threads: int) -> list[str]:
    """What is wrong, in words, with events that the client samples over the whole valid ranges."""
    generator = OnnxGenerator(path, threads=threads)
    steps = np.linspace(0, 1, _EVENTS)
    columns = [
        np.round(column) if entry.name == "multiplicity" else column
        for entry in generator.conditions
        for column in [entry.low + (entry.high - entry.low) * steps]
    ]
    cond = np.stack(columns, axis=1) if columns else np.empty((_EVENTS, 0))
    x, weights = generator.sample_weighted(cond, seed=11, batch=64)
    return [] if np.isfinite(x).all() and np.isfinite(weights).all() else ["a sampled event is not finite"]


def main() -> int:
    """Print an outcome a line; a refusal becomes one."""
    version = require_runtime().__version__
    for name in sys.argv[1:]:
        path = Path(name)
        try:
            outcomes = list(check(path))
        except HepflowsError as error:
            outcomes = [{"file": path.stem, "failures": [" ".join(str(error).split())]}]
        for outcome in outcomes:
            sys.stdout.write(json.dumps({"runtime": "onnxruntime", "version": version, **outcome}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
