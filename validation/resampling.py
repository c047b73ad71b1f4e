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


def carried(weights: NDArray[np.floating] | None, n: int) -> Floats | None:
    """Weights (N,) of mean one that events keep when they are drawn evenly; None if all are equal.

    Unlike draws by `chances` this keeps the noise that the weights bring, which shows between draws then, and knows
    negative weights, as long as they sum to more than zero.

    Raises:
        DataError: as many weights as events were expected, or their sum is not above zero.
    """
    if weights is None:
        return None
    given = np.asarray(weights, np.float64)
    if given.shape != (n,) or not np.isfinite(given).all() or given.sum() <= 0:
        raise DataError(
            "weights do not describe a sample",
            where="weights",
            expected=f"{n} finite numbers with a sum above zero",
            found=f"shape {given.shape}, sum {given.sum():g}",
            remedy="check the weights",
        )
    return None if np.all(given == given[0]) else np.asarray(given / given.mean())


def weighted_moments(values: Floats, counts: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Mean (F,) and covariance (F, F) of events that occur `counts` times, with the divisor sum(counts) - 1.

    Args:
        values: shape (N, F); means far from zero cost digits of the covariance.
        counts: shape (N,).
        weights: weight (N,) of each occurrence; the covariance is unbiased for them, too: its divisor is
            sum w - sum w^2 / sum w, the sums over occurrences.
    """
    if weights is not None:
        squares = float((counts * weights**2).sum())
        counts = counts * weights
        total = counts.sum()
        mean = counts @ values / total
        covariance = values.T @ (values * counts[:, None]) / total - np.outer(mean, mean)
        return mean, np.asarray(covariance / (1 - squares / total**2))
    total = counts.sum()
    mean = counts @ values / total
    covariance = values.T @ (values * counts[:, None]) / total - np.outer(mean, mean)
    return mean, np.asarray(covariance * (total / (total - 1)))
