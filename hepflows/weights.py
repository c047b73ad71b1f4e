"""Event weights: what they are, whether there are any, and how many events they leave.

One convention everywhere: label 1 is the reference (target, theta_1), f the calibrated probability to be one, and
w = f / (1 - f) = p_reference / p_generated the weight of a generated event. The likelihood ratio of inference,
r(theta_0 / theta_1) of arXiv 1506.02169, is 1 / w.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def likelihood_ratios(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights w = f / (1 - f), shape (N,), of calibrated scores f with 0 < f < 1 (arXiv 1506.02169)."""
    return np.asarray(scores / (1 - scores), np.float64)


def are_weighted(weights: NDArray[np.floating] | None) -> bool:
    """Whether events count differently; equal weights are none."""
    return weights is not None and bool(np.any(weights != weights[0]))


def training_weights(
    weights: NDArray[np.floating] | None, *, at_least: float, where: object = None
) -> NDArray[np.float64] | None:
    """Weights (N,) as a training takes them, with a mean of 1; None where all events count the same.

    Raises:
        DataError: negative weights, weights that are not finite, or fewer than `at_least` effective events.
    """
    if weights is None:
        return None
    w = np.asarray(weights, np.float64)
    if not np.isfinite(w).all() or (w < 0).any():
        raise DataError(
            "weights must be finite and not negative: no density has others",
            where=where,
            found=f"{int((~np.isfinite(w)).sum())} not finite, {int((w < 0).sum())} negative of {len(w)}",
            remedy="train on a sample of positive weights",
        )
    size = effective_sample_size(w)[0]
    if size < at_least:
        raise DataError(
            "few events carry all the weight",
            where=where,
            expected=f"an effective sample size of {at_least:g} or more",
            found=f"{size:.3g} of {len(w)} events",
            remedy="use more events, or clip the weights",
        )
    return w / w.mean() if are_weighted(w) else None


def weighted_quantiles(
    values: NDArray[np.floating], shares: NDArray[np.float64], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Smallest values (K,) of (N,) up to which at least these shares (K,) of the weight lie."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(np.asarray(weights, np.float64)[order])
    at = np.searchsorted(reached, shares * reached[-1] * (1 - 1e-12))
    return np.asarray(values[order][np.minimum(at, len(values) - 1)], np.float64)


def effective_sample_size(weights: NDArray[np.floating]) -> tuple[float, float]:
    """Kish's effective sample size (sum w)^2 / sum w^2 and its statistical uncertainty.

    Means of weighted events scatter as those of so many events without weights (L. Kish, Survey Sampling, 1965).

    Args:
        weights: event weights (N,).

    Returns:
        Size between 0 and N, and its error for the first two moments of the weights measured on N events (linear
        propagation); the error is 0 for equal weights.

    Raises:
        DataError: weights that are all zero.
    """
    w = np.asarray(weights, np.float64)
    first, second = float(w.mean()) if w.size else 0.0, float((w * w).mean()) if w.size else 0.0
    if second <= 0:
        raise DataError("weights of a sample are all zero", where="weights", remedy="check the weights")
    share = first**2 / second
    # derivative of m1^2 / m2 by each event's w and w^2, whose mean over the events is zero
    influence = share * (2 * w / first - w * w / second - 1) if first else np.zeros_like(w)
    return len(w) * share, math.sqrt(len(w)) * float(influence.std())
