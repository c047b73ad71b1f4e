"""One number of a comparison, with everything needed to judge it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

JsonValue = float | int | str | bool | list[float] | None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measured number.

    Attributes:
        value: metric(A, n generated events).
        error: statistical uncertainty of `value` (one standard deviation).
        floor: metric(A, B) between two disjoint halves of the reference, n events each; None if not measured.
        floor_error: statistical uncertainty of `floor`.
        n: events per sample.
        target: the value of a perfect generator with infinite statistics (0 for distances, 1 for ratios, 0.5
            for an AUC).
        two_sided: whether deviations below `target` are as bad as those above it (ratios).
        rising: whether larger values are better, up to `target` (coverage).
        chief: whether it belongs to the table on top of a report whatever its name.
        meaning: what is measured and how, for reports.
        details: further JSON-able facts (sizes, preset, unit ...).
    """

    value: float
    error: float
    floor: float | None = None
    floor_error: float | None = None
    n: int
    target: float = 0.0
    two_sided: bool = False
    rising: bool = False
    chief: bool = False
    meaning: str = ""
    details: Mapping[str, JsonValue] = field(default_factory=dict)

    def excess(self) -> float:
        """How far the value lies from the target, in the unit of the value."""
        return abs(self.value - self.target) if self.two_sided else self._beyond(self.value)

    def floor_excess(self) -> float:
        """How far the floor lies from the target; 0 if there is none or if the metric is a ratio.

        A ratio has no floor other than 1: the deviation between two halves of the reference is noise, which
        `error` states already.
        """
        return 0.0 if self.floor is None or self.two_sided else self._beyond(self.floor)

    def pull(self) -> float:
        """Excess over the floor in units of the combined uncertainty of value and floor."""
        error = math.hypot(self.error, self.floor_error or 0.0) if not self.two_sided else self.error
        difference = self.excess() - self.floor_excess()
        return difference / error if error > 0 else math.copysign(math.inf, difference) if difference else 0.0

    def _beyond(self, value: float) -> float:
        return self.target - value if self.rising else value - self.target

    def to_json(self) -> dict[str, JsonValue]:
        """The public JSON form: value, error, floor, floor_error, n, target and the details."""
        return {
            "value": _finite(self.value),
            "error": _finite(self.error),
            "floor": _finite(self.floor),
            "floor_error": _finite(self.floor_error),
            "n": self.n,
            "target": self.target,
            **self.details,
        }


def _finite(number: float | None) -> float | None:
    """JSON has no NaN or infinity: they become null."""
    return float(number) if number is not None and math.isfinite(number) else None
