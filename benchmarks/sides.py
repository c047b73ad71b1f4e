"""Timing the sides of a comparison batch by batch, and the ratios between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from benchmarks.options import say
from hepflows.benchmarking.memory import available_bytes, peak_growth_mib
from hepflows.benchmarking.timing import Statistic, Timing, lap, time_alternately

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hepflows.benchmarking.timing import Effort

_SHARE_OF_MEMORY = 0.7


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the functions that are compared.

    Attributes:
        call: makes the function to time for a number of events.
        scale: the work that was meant over the work that the function does; above 1 for extrapolations.
        note: how it was extrapolated, or None.
        bytes_per_event: memory that an event takes, if it is so much that large batches must be left out.
    """

    call: Callable[[int], Callable[[], object]]
    scale: float = 1.0
    note: str | None = None
    bytes_per_event: int = 0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Timings by side and batch.

    Attributes:
        timings: seconds a call, extrapolations scaled.
        peaks: growth of the resident memory in MiB.
        notes: how a side was extrapolated.
        left_out: why something was not timed, by side and batch.
    """

    timings: dict[str, dict[int, Timing]] = field(default_factory=dict)
    peaks: dict[str, dict[int, float | None]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def ms(self, side: str, statistic: Statistic = "wall", *, per_event: bool = True) -> dict[str, float]:
        """Milliseconds an event (or a call) by batch."""
        return {
            str(batch): 1e3 * timing.value(statistic) / (batch if per_event else 1)
            for batch, timing in self.timings.get(side, {}).items()
        }

    def ratios(self, name: str, slow: str, fast: str) -> dict[str, dict[str, float]]:
        """Time of `slow` over that of `fast` by batch: of medians, of processor times, of least times.

        Args:
            name: key of the first; the others get the suffixes ``_cpu`` and ``_least``.
            slow: side of the numerator.
            fast: side of the denominator.
        """
        above, below = self.timings.get(slow, {}), self.timings.get(fast, {})
        return {
            name if statistic == "wall" else f"{name}_{statistic}": {
                str(batch): above[batch].value(statistic) / below[batch].value(statistic)
                for batch in below
                if batch in above
            }
            for statistic in get_args(Statistic)
        }

    def to_dict(self, *, per_event: bool = True) -> dict[str, Any]:
        """Everything by side and batch, JSON-able."""
        return {
            side: {
                "extrapolated": self.notes.get(side),
                "batches": {
                    str(batch): {
                        **timing.to_dict(calls=batch if per_event else 1),
                        "peak_mib": self.peaks[side][batch],
                    }
                    for batch, timing in by_batch.items()
                },
            }
            for side, by_batch in self.timings.items()
        }


def measure(sides: Mapping[str, Side], batches: Sequence[int], effort: Effort) -> Measured:
    """Time all sides in turns, batch by batch, and the memory that each takes."""
    measured = Measured(notes={name: side.note for name, side in sides.items() if side.note is not None})
    for side in sides.values():
        side.call(min(batches))()  # compiles, packs weights
    for batch in batches:
        calls: dict[str, Callable[[], object]] = {}
        for name, side in sides.items():
            reason = _too_large(side, batch)
            if reason is None:
                calls[name] = side.call(batch)
            else:
                measured.left_out[f"{name}, batch {batch}"] = reason
        say(f"batch {batch}: {', '.join(calls)}")
        for name, timing in _time(calls, batch, effort, measured).items():
            measured.timings.setdefault(name, {})[batch] = timing.scaled(sides[name].scale)
    return measured


def _time(calls: dict[str, Callable[[], object]], batch: int, effort: Effort, measured: Measured) -> dict[str, Timing]:
    """Warm up while the memory is watched, then time in turns; what is slower than our patience is called once."""
    first: dict[str, Timing] = {}
    for name, call in calls.items():
        first[name], peak = _watched(call)
        measured.peaks.setdefault(name, {})[batch] = peak
    walls = {name: timing.wall_s[0] for name, timing in first.items()}
    quick = {name: call for name, call in calls.items() if walls[name] < effort.patience_s}
    return first | time_alternately(quick, effort, warm=walls)


def _watched(call: Callable[[], object]) -> tuple[Timing, float | None]:
    """Time one call and the memory that it takes."""
    found: list[Timing] = []
    peak = peak_growth_mib(lambda: found.append(lap(call)))
    return found[0], peak


def calling(function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    """A function without arguments."""
    return partial(function, *arguments)


def fastest(measured: Measured, sides: Sequence[str], batch: int) -> str | None:
    """The side with the least median at a batch, or None if none was timed."""
    there = [side for side in sides if batch in measured.timings.get(side, {})]
    return min(there, key=lambda side: measured.timings[side][batch].value(), default=None)


def _too_large(side: Side, batch: int) -> str | None:
    free = available_bytes()
    need = side.bytes_per_event * batch
    if free is not None and need > _SHARE_OF_MEMORY * free:
        return f"needs about {need / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free"
    return None
