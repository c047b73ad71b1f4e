"""Which observables set apart the events that a classifier finds most suspicious?

Events with extreme weights are compared with all others of the same sample, observable by observable. What differs
most tells a physicist where to look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from validation.measure import Estimate, moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TAIL: Final = 0.05
"""Share of the tested events of a sample that count as extreme."""
MIN_TAIL: Final = 5
_REPLICAS = 30


@dataclass(frozen=True, kw_only=True)
class Driver:
    """How far an observable of extreme events differs from that of the others.

    Attributes:
        ks: Kolmogorov-Smirnov distance between the two.
        difference: mean of the extreme events minus mean of the others, in standard deviations of the others.
    """

    ks: Estimate
    difference: Estimate


def extreme_events(log_weights: Floats, *, highest: bool, least: float = TAIL) -> NDArray[np.int64]:
    """Positions of the events with the highest or lowest weights, the most extreme one first.

    Args:
        log_weights: ln w (N,), NaN for events without one, which are never chosen.
        highest: whether high weights are extreme.
        least: share of the events that have a weight; at least 5 events.
    """
    known = np.flatnonzero(np.isfinite(log_weights))
    order = known[np.argsort(-log_weights[known] if highest else log_weights[known], kind="stable")]
    return order[: max(MIN_TAIL, round(least * len(known)))]


def driver(values: Floats, extreme: NDArray[np.bool_], weights: Floats | None = None, *, seed: int = 0) -> Driver:
    """Difference of one observable between extreme events and the others; NaN if either has no defined values.

    Args:
        values: one number an event (N,); NaN where it is not defined.
        extreme: which events are extreme (N,).
        weights: weights (N,), all 1 if None.
        seed: of the bootstrap that gives the error of the Kolmogorov-Smirnov distance.
    """
    w = np.ones(len(values)) if weights is None else weights
    defined = np.isfinite(values)
    x, chosen, w = np.asarray(values[defined], np.float64), extreme[defined], w[defined]
    if chosen.sum() < 2 or (~chosen).sum() < 2 or w[chosen].sum() <= 0 or w[~chosen].sum() <= 0:
        undefined = Estimate(value=math.nan, error=math.nan)
        return Driver(ks=undefined, difference=undefined)
    inside, outside = moments(x[chosen], w[chosen]), moments(x[~chosen], w[~chosen])
    deviation = outside[1] or 1.0
    return Driver(
        ks=_distance(x, chosen, w, seed=seed),
        difference=Estimate(
            value=(inside[0] - outside[0]) / deviation, error=math.hypot(inside[2], outside[2]) / deviation
        ),
    )


def _distance(x: Floats, chosen: NDArray[np.bool_], w: Floats, *, seed: int) -> Estimate:
    """Weighted Kolmogorov-Smirnov distance and its bootstrap error."""
    order = np.argsort(x, kind="stable")
    last = np.append(np.flatnonzero(np.diff(x[order])), len(x) - 1)  # ties make one step
    random = np.random.default_rng(seed)
    counts = np.vstack([np.ones(len(x)), random.poisson(1.0, (_REPLICAS, len(x)))])
    one, two = (np.cumsum(counts * np.where(mask, w, 0.0)[order], axis=1)[:, last] for mask in (chosen, ~chosen))
    drawn = (one[:, -1] > 0) & (two[:, -1] > 0)
    found = np.abs(one[drawn] / one[drawn, -1:] - two[drawn] / two[drawn, -1:]).max(axis=1)
    return Estimate(value=float(found[0]), error=float(found[1:].std(ddof=1)))
