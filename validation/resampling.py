"""Draws of events with replacement, as the published metrics of jets make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def chances(weights: NDArray[np.floating] | None) -> Floats | None:
    """Probabilities (N,) with which weighted events are drawn; None if all are equally likely.

    Raises:
        DataError: a negative weight, or weights that sum to zero: such events cannot be drawn.
    """
    if weights is None:
        return None
    given = np.asarray(weights, np.float64)
    if not np.all(given >= 0) or given.sum() <= 0:
        raise DataError(
            "events cannot be drawn by their weights",
            where="weights",
            expected="not negative, and at least one above 0",
            found=f"least {given.min(initial=0):g}, sum {given.sum():g}",
        )
    return np.asarray(given / given.sum())


def draw(rng: np.random.Generator, n: int, size: int, chance: Floats | None = None) -> NDArray[np.int64]:
    """Positions (size,) of events drawn with replacement out of n."""
    return rng.choice(n, size=size, p=chance)


def weighted_moments(values: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Mean (F,) and covariance (F, F) of events that occur `counts` times, with the divisor sum(counts) - 1.

    Args:
        values: shape (N, F); means far from zero cost digits of the covariance.
        counts: shape (N,).
    """
    total = counts.sum()
    mean = counts @ values / total
    covariance = values.T @ (values * counts[:, None]) / total - np.outer(mean, mean)
    return mean, np.asarray(covariance * (total / (total - 1)))
