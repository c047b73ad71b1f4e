"""High-level observables as a table of standardised columns, in which distances between events mean something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from hepflows.observable import Observable

    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TableScale:
    """How observables become columns: fitted on one sample, applied to all.

    Attributes:
        names: observables with one value an event, in the order of the columns (F).
        least: for logarithmic observables the smallest positive value, below which all count as that; else NaN (F,).
        centre: mean of the column (F,).
        spread: standard deviation of the column, 1 for a constant one (F,).
    """

    names: tuple[str, ...]
    least: Floats
    centre: Floats
    spread: Floats

    def apply(self, observables: Iterable[Observable]) -> Floats:
        """Standardised columns (N, F); undefined values lie at the mean."""
        columns = _columns(observables, self.names, self.least)
        return np.nan_to_num((columns - self.centre) / self.spread, posinf=0.0, neginf=0.0)


def fit_scale(observables: Iterable[Observable]) -> TableScale | None:
    """Means and deviations of all observables with one value an event; None if there is none.

    Args:
        observables: of the sample that sets the scale, such as the training events.
    """
    single = [o for o in observables if o.values.ndim == 1]
    if not single:
        return None
    least = np.array([_smallest_positive(o) if o.log else np.nan for o in single])
    names = tuple(o.name for o in single)
    columns = np.where(np.isfinite(table := _columns(single, names, least)), table, np.nan)
    defined = np.isfinite(columns).any(0)
    centre, spread = np.zeros(len(names)), np.ones(len(names))
    centre[defined] = np.nanmean(columns[:, defined], axis=0)
    spread[defined] = np.nanstd(columns[:, defined], axis=0)
    return TableScale(names=names, least=least, centre=centre, spread=np.where(spread > 0, spread, 1.0))


def _smallest_positive(observable: Observable) -> float:
    values = np.asarray(observable.values, np.float64)
    positive = values[np.isfinite(values) & (values > 0)]
    return float(positive.min()) if positive.size else 1.0


def _columns(observables: Iterable[Observable], names: tuple[str, ...], least: Floats) -> Floats:
    by_name = {o.name: o for o in observables}
    columns = []
    for name, low in zip(names, least, strict=True):
        values = np.asarray(by_name[name].values, np.float64)
        columns.append(values if np.isnan(low) else np.log10(np.maximum(values, low)))
    return np.stack(columns, axis=1)
