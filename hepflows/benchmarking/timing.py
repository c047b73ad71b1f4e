"""Timing several functions against each other on a machine that others may use as well.

The sides take turns, so that a slow minute of the machine meets all of them; each lap records wall time and the
processor time of this process, of which the latter hardly feels other processes. Medians are reported, with minima
and quartiles beside them.
"""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Statistic = Literal["wall", "cpu", "least"]
"""Median of the wall times, median of the processor times, or least wall time."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long each side is timed.

    Attributes:
        repeats: laps at least.
        seconds: laps go on until a side has taken so much wall time.
        most_repeats: laps at most.
        patience_s: a side that has taken so long stops before `repeats`, after one lap at least.
        lap_s: quick functions are called several times a lap, so that a lap takes about this long.
    """

    repeats: int = 5
    seconds: float = 2.0
    most_repeats: int = 200
    patience_s: float = 40.0
    lap_s: float = 0.02

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.most_repeats < self.repeats or min(self.seconds, self.patience_s, self.lap_s) < 0:
            raise ConfigError("timing needs at least one repeat and no negative times", found=self)


THOROUGH = Effort()
QUICK = Effort(repeats=3, seconds=0.2, patience_s=1.5)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the laps of one side gave, in seconds a call.

    Attributes:
        wall_s: wall time a call, one number a lap.
        cpu_s: processor time of the process (all threads) a call, one number a lap.
        calls_per_lap: calls that a lap averages over.
    """

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    calls_per_lap: int = 1

    def value(self, statistic: Statistic = "wall") -> float:
        """Seconds a call."""
        if statistic == "least":
            return min(self.wall_s)
        return statistics.median(self.wall_s if statistic == "wall" else self.cpu_s)

    def quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile of the wall times."""
        if len(self.wall_s) == 1:
            return self.wall_s[0], self.wall_s[0]
        low, _, high = statistics.quantiles(self.wall_s, n=4, method="inclusive")
        return low, high

    def scaled(self, factor: float) -> Timing:
        """The same laps with all times multiplied: for work of which only a part was done."""
        return Timing(
            wall_s=tuple(factor * lap for lap in self.wall_s),
            cpu_s=tuple(factor * lap for lap in self.cpu_s),
            calls_per_lap=self.calls_per_lap,
        )

    def to_dict(self, *, calls: int = 1) -> dict[str, float]:
        """Milliseconds of a `calls`-th of a call (an event of a batch), JSON-able."""
        milli = 1e3 / calls
        low, high = self.quartiles()
        return {
            "ms": self.value() * milli,
            "ms_least": self.value("least") * milli,
            "ms_quartile_low": low * milli,
            "ms_quartile_high": high * milli,
            "cpu_ms": self.value("cpu") * milli,
            "laps": len(self.wall_s),
            "calls_per_lap": self.calls_per_lap,
        }


def time_alternately(
    sides: Mapping[str, Callable[[], object]],
    effort: Effort = THOROUGH,
    *,
    warm: Mapping[str, float] | None = None,
) -> dict[str, Timing]:
    """Time functions in turns, each after a warm-up that also compiles what needs compiling.

    Args:
        sides: functions by name.
        effort: how long.
        warm: wall seconds of a call of each, if all have been called already.

    Returns:
        Timings by name, in the order given.
    """
    calls = {name: _calls_per_lap(sides[name], effort, (warm or {}).get(name)) for name in sides}
    walls: dict[str, list[float]] = {name: [] for name in sides}
    processor: dict[str, list[float]] = {name: [] for name in sides}
    running = list(sides)
    with _without_collections():
        while running:
            for name in running:
                one = lap(sides[name], calls[name])
                walls[name] += one.wall_s
                processor[name] += one.cpu_s
            running = [name for name in running if not _enough(walls[name], calls[name], effort)]
    return {
        name: Timing(wall_s=tuple(walls[name]), cpu_s=tuple(processor[name]), calls_per_lap=calls[name])
        for name in sides
    }


def _calls_per_lap(function: Callable[[], object], effort: Effort, wall: float | None) -> int:
    """Warm up and choose how many calls make a lap; `wall` is the time of an earlier call, if there was one."""
    if wall is None:
        wall = lap(function).wall_s[0]
        if wall < effort.patience_s:  # the first call may have compiled; a slow one is not repeated in vain
            wall = min(wall, lap(function).wall_s[0])
    elif wall < effort.lap_s:
        wall = min(wall, lap(function).wall_s[0])
    return max(1, math.ceil(effort.lap_s / max(wall, 1e-7)))


def lap(function: Callable[[], object], calls: int = 1) -> Timing:
    """Time one lap of some calls."""
    began, cpu_began = time.perf_counter(), time.process_time()
    for _ in range(calls):
        function()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    return Timing(wall_s=(wall / calls,), cpu_s=(cpu / calls,), calls_per_lap=calls)


def _enough(walls: list[float], calls: int, effort: Effort) -> bool:
    taken, laps = sum(walls) * calls, len(walls)
    return (
        laps >= effort.most_repeats
        or (laps >= effort.repeats and taken >= effort.seconds)
        or taken >= effort.patience_s
    )


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Keep Python's garbage collector out of the laps."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
