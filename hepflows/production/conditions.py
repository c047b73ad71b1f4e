"""Conditions of a whole sample, part by part."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hepflows.errors import DataError
from hepflows.train.progress import SilentReporter
from hepflows.weights import are_weighted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from hepflows.generator import AnyGenerator
    from hepflows.task import AnyTask
    from hepflows.train.progress import Reporter

_CHECKED_AT_ONCE = 1 << 16
"""Conditions held together while they are checked."""
_QUICK = 1 << 24
"""So many are checked in seconds."""


class Conditions(Protocol):
    """Conditions of n events."""

    @property
    def n(self) -> int:
        """Number of events."""
        ...

    def part(self, start: int, stop: int) -> dict[str, NDArray[np.floating[Any]]]:
        """Conditions of events start ... stop - 1 by name, shape (stop - start,) each."""
        ...


@dataclass(frozen=True, kw_only=True)
class GivenConditions:
    """Conditions that are held in memory.

    Attributes:
        n: number of events of the whole sample.
        values: conditions by name, those of events `first`, `first` + 1 and so on.
        first: event that the first value belongs to.
    """

    n: int
    values: Mapping[str, NDArray[np.floating[Any]]]
    first: int = 0

    def part(self, start: int, stop: int) -> dict[str, NDArray[np.floating[Any]]]:
        """Conditions of events start ... stop - 1."""
        return {name: values[start - self.first : stop - self.first] for name, values in self.values.items()}


@dataclass(frozen=True, kw_only=True)
class DrawnConditions:
    """Conditions that are drawn when they are wanted; event i's follow from (seed, i), so none are kept.

    Attributes:
        n: number of events.
        generator: draws them.
        seed: of the counter-based random numbers.
        ranges: lower and upper end by name.
    """

    n: int
    generator: AnyGenerator
    seed: int
    ranges: Mapping[str, tuple[float, float]]

    def part(self, start: int, stop: int) -> dict[str, NDArray[np.floating[Any]]]:
        """Conditions of events start ... stop - 1.

        Raises:
            ConditionError: a range is missing, impossible, or of a condition that the generator does not have.
        """
        return self.generator.draw_conditions(stop - start, seed=self.seed, first_event=start, ranges=self.ranges)


def check_conditions(
    generator: AnyGenerator, conditions: Conditions, bounds: tuple[int, int], *, reporter: Reporter | None = None
) -> None:
    """Refuse what sampling these events would refuse, before hours of it.

    Args:
        generator: what is sampled.
        conditions: of the whole sample.
        bounds: first and last (exclusive) event.
        reporter: shows progress where there are so many that it takes a while.

    Raises:
        ConditionError: a condition is missing, ill-shaped or outside the trained range.
    """
    total = bounds[1] - bounds[0]
    reporter = SilentReporter() if reporter is None or total <= _QUICK else reporter
    with reporter.stage("checking conditions", total=total, unit="events") as stage:
        for start in range(bounds[0], bounds[1], _CHECKED_AT_ONCE):
            stop = min(start + _CHECKED_AT_ONCE, bounds[1])
            generator.check_conditions(conditions.part(start, stop))
            stage.advance(stop - start)


def conditions_of_file(
    generator: AnyGenerator, task: AnyTask, path: Path, selection: Mapping[str, Any], n: int | None
) -> GivenConditions:
    """Take the conditions of the first n events of a file, or of all; the events are read in chunks if possible.

    Raises:
        DataError: there are fewer events, or a condition of the generator is missing.
    """
    import numpy as np

    from hepflows.task import StreamingTask

    chunks = (
        task.iterate(path, **selection) if isinstance(task, StreamingTask) else iter([task.read(path, **selection)])
    )
    found, parts = 0, []
    for events in chunks:
        if are_weighted(getattr(events, "weights", None)):
            warnings.warn(
                f"{path.name}: the events have weights, the generated ones will not: they follow its conditions, each "
                "taken once",
                UserWarning,
                stacklevel=2,
            )
        parts.append(conditions_like(generator, task, events, None if n is None else min(n - found, len(events))))
        found += parts[-1].n
        if n is not None and found >= n:
            break
    if n is not None and found < n:
        raise DataError("not enough events", where="--like", expected=f"-n {n} or more", found=found)
    names = parts[0].values
    return GivenConditions(
        n=found, values={name: np.concatenate([part.values[name] for part in parts]) for name in names}
    )


def conditions_like(generator: AnyGenerator, task: AnyTask, events: Any, n: int | None) -> GivenConditions:
    """Take the conditions of the first n events, or of all.

    Raises:
        DataError: a condition of the generator is missing.
    """
    available = task.conditions_of(events)
    if missing := [name for name in generator.condition_names if name not in available]:
        raise DataError(
            "a condition of the generator is missing",
            where="--like",
            expected=", ".join(missing),
            found=", ".join(available) or "none",
        )
    count = len(events) if n is None else n
    return GivenConditions(n=count, values={name: available[name][:count] for name in generator.condition_names})
