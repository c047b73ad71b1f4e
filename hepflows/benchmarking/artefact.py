"""Speed and memory of one saved or exported generator, whatever task it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np

from hepflows.benchmarking.machine import LIBRARIES, describe_machine
from hepflows.benchmarking.memory import peak_growth_mib
from hepflows.benchmarking.startup import measure_startup
from hepflows.benchmarking.timing import QUICK, THOROUGH, Timing, time_alternately
from hepflows.errors import ArtefactError, ConditionError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hepflows.generator import AnyGenerator

SCHEMA: Final = "hepflows-benchmark/1"
SEED: Final = 20240229
"""Of noise and conditions: every run measures the same events."""


@runtime_checkable
class HasLogProb(Protocol):
    """A generator that also gives the density of events."""

    def log_prob(self, events: Any, /) -> Any:
        """Log densities of events, shape (N,) or several of them."""
        ...


@dataclass(frozen=True, kw_only=True)
class ArtefactBenchmark:
    """What `benchmark_generator` found.

    Attributes:
        sampling: timings of one call of `sample` by its number of events.
        density: timings of one call of `log_prob` by its number of events; empty if there is none.
        peak_mib: growth of the resident memory at the peak of one call of `sample`, by its number of events.
    """

    sampling: dict[int, Timing]
    density: dict[int, Timing]
    peak_mib: dict[int, float | None]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, times in milliseconds an event."""
        return {
            "sampling": {
                str(batch): {
                    **timing.to_dict(calls=batch),
                    "events_per_second": batch / timing.value(),
                    "peak_mib": self.peak_mib[batch],
                }
                for batch, timing in self.sampling.items()
            },
            "log_prob": {
                str(batch): {**timing.to_dict(calls=batch), "events_per_second": batch / timing.value()}
                for batch, timing in self.density.items()
            }
            or None,
        }


def benchmark_generator(
    generator: AnyGenerator,
    batches: Sequence[int],
    *,
    quick: bool = False,
    batch_done: Callable[[int], None] | None = None,
) -> ArtefactBenchmark:
    """Time `sample`, and `log_prob` of the sampled events if the generator has one.

    Conditions are drawn as the generator draws them by itself, else uniformly from the trained range.

    Args:
        generator: any generator.
        batches: numbers of events a call.
        quick: fewer and shorter repeats.
        batch_done: called with each number of events when it is finished.

    Raises:
        ArtefactError: the generator does not know the range of a condition.
        ConfigError: there are no batches, or one is below 1.
    """
    if not batches or min(batches) < 1:
        raise ConfigError("no batches to measure", expected="numbers of events, 1 or more", found=list(batches))
    effort = QUICK if quick else THOROUGH
    sampling, density, peaks = {}, {}, {}
    for batch in batches:
        sample = partial(generator.sample, conditions_inside(generator, batch), n=batch, seed=SEED)
        sides: dict[str, Callable[[], object]] = {"sample": sample}
        if isinstance(generator, HasLogProb):
            sides["log_prob"] = partial(generator.log_prob, sample())
        timings = time_alternately(sides, effort)
        sampling[batch] = timings["sample"]
        if "log_prob" in timings:
            density[batch] = timings["log_prob"]
        peaks[batch] = peak_growth_mib(sample)
        if batch_done is not None:
            batch_done(batch)
    return ArtefactBenchmark(sampling=sampling, density=density, peak_mib=peaks)


def startup_of(path: Path, *, device: str, threads: int | None, cold: bool) -> dict[str, dict[str, float]]:
    """Seconds to the first event in fresh processes; see `hepflows.benchmarking.startup`."""
    arguments = [str(path), "--device", device, *([] if threads is None else ["--threads", str(threads)])]
    return measure_startup("hepflows.benchmarking.first_call", arguments, cold=cold)


def conditions_inside(generator: AnyGenerator, n: int) -> dict[str, NDArray[np.float32]]:
    """Draw conditions of n events: as the generator draws them by itself, else uniformly from the trained range.

    Raises:
        ArtefactError: the generator's document has no range for a condition.
    """
    try:
        drawn = generator.draw_conditions(n, seed=SEED)
    except ConditionError:
        drawn = generator.draw_conditions(n, seed=SEED, ranges=_ranges_of(generator))
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def _ranges_of(generator: AnyGenerator) -> dict[str, tuple[float, float]]:
    ranges = valid_ranges(generator.document)
    if missing := [name for name in generator.condition_names if name not in ranges]:
        raise ArtefactError(
            "a condition has no valid range", where="generator's document", expected=f"a range of {missing[0]}"
        )
    return {name: ranges[name] for name in generator.condition_names}


def valid_ranges(document: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Range of each condition by name, from the document of an artefact or of an exported file."""
    entries = dict(document.get("valid_range") or {})
    listed = document.get("conditions")
    for entry in listed if isinstance(listed, list) else []:
        entries[entry["name"]] = entry.get("valid_range")
    return {name: (float(bounds[0]), float(bounds[1])) for name, bounds in entries.items() if bounds is not None}


def report_of(
    path: Path,
    generator: AnyGenerator,
    measured: ArtefactBenchmark,
    *,
    device: str,
    threads: int | None,
    quick: bool,
    load_s: float,
    startup: Mapping[str, Mapping[str, float]] | None,
) -> dict[str, Any]:
    """Everything as one JSON-able dictionary."""
    document = generator.document
    return {
        "schema": SCHEMA,
        "benchmark": "artefact",
        "artefact": path.name,
        "task": generator.task,
        "kind": document.get("kind"),
        "trained_with": document.get("version"),
        "settings": {"device": device, "threads": threads, "quick": quick, "seed": SEED},
        "machine": describe_machine(libraries=(*LIBRARIES, "onnxruntime"), device=device),
        "load_s": load_s,
        "startup": None if startup is None else {name: dict(seconds) for name, seconds in startup.items()},
        **measured.to_dict(),
    }
