"""How far two evaluations of a sampler lie apart; numpy only, so that any client can use it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """Absolute differences in the unit of the output, at three places of their distribution."""

    median: float
    p999: float
    maximum: float

    @classmethod
    def of(cls, differences: NDArray[np.float64]) -> Quantiles:
        """Quantiles of absolute differences of any shape; NaN counts as infinitely far off."""
        values = np.nan_to_num(np.abs(differences), nan=np.inf, posinf=np.inf).ravel()
        # Order statistics without interpolation: finite however many values are infinite above them.
        median, p999 = np.quantile(values, [0.5, 0.999], method="lower")
        return cls(median=float(median), p999=float(p999), maximum=float(values.max()))

    @classmethod
    def from_dict(cls, entries: Mapping[str, float]) -> Quantiles:
        """Inverse of `to_dict`."""
        return cls(median=float(entries["median"]), p999=float(entries["p999"]), maximum=float(entries["maximum"]))

    def to_dict(self) -> dict[str, float]:
        """JSON form."""
        return asdict(self)

    def scaled(self, factor: float) -> Quantiles:
        """All of them times a factor."""
        return Quantiles(median=factor * self.median, p999=factor * self.p999, maximum=factor * self.maximum)

    def or_larger(self, other: Quantiles) -> Quantiles:
        """The larger one at each place."""
        return Quantiles(
            median=max(self.median, other.median),
            p999=max(self.p999, other.p999),
            maximum=max(self.maximum, other.maximum),
        )

    def exceeding(self, bound: Quantiles) -> list[str]:
        """In words, where these differences are larger than `bound` allows."""
        pairs = (
            ("median", self.median, bound.median),
            ("99.9 %", self.p999, bound.p999),
            ("maximum", self.maximum, bound.maximum),
        )
        return [f"{name} {value:.3g} > {limit:.3g}" for name, value, limit in pairs if not value <= limit]


def rounding(reference: NDArray[np.float64]) -> Quantiles:
    """Spacing of float32 at the values themselves: no float32 evaluation can be asked to do better."""
    return Quantiles.of(np.spacing(np.abs(reference).astype(np.float32)).astype(np.float64))
