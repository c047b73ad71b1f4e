"""Distances between events and their nearest neighbours: does a generator copy its training events, or itself?

The comparison with held-out events follows the data-copying test of arXiv 2004.05675 and the authenticity of
arXiv 2102.08921: events that a generator has learnt to make lie as far from the training events as new ones of the
simulation do; events that it remembers lie nearer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import DataError
from validation.measure import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHARE: Final = 0.01
"""The share of held-out events by which "near" is defined, and so the target of the shares of near events."""
SAME: Final = 1e-6
"""Events nearer than this, in standard deviations, are one event twice."""


def neighbour_distances(points: Floats, among: Floats | None = None) -> Floats:
    """Euclidean distance from each event to its nearest neighbour.

    Args:
        points: standardised observables (N, F).
        among: where neighbours are looked for (M, F); None for the other events of `points`.

    Returns:
        (N,); NaN if there is no other event.
    """
    from sklearn.neighbors import NearestNeighbors

    others = points if among is None else among
    skip = 1 if among is None else 0
    if len(others) <= skip:
        return np.full(len(points), np.nan)
    search = NearestNeighbors(n_neighbors=1).fit(others)
    # without arguments an event is not its own neighbour
    index = search.kneighbors(None if among is None else points, return_distance=False)[:, 0]
    # matrix products lose the digits of small distances, so the one that counts is computed again
    return np.asarray(np.linalg.norm(points - others[index], axis=1))


def weighted_quantile(values: Floats, q: float, weights: Floats) -> Floats:
    """Smallest value below which at least the share q of the weight lies, for each row of weights.

    Args:
        values: (N,).
        q: between 0 and 1.
        weights: (R, N), not negative.

    Returns:
        (R,).
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)
    position = (cumulative < q * cumulative[:, -1:]).sum(1)
    return np.asarray(values[order][np.minimum(position, len(values) - 1)])


def memorisation(
    generated: Floats,
    held_out: Floats,
    *,
    replicas: int,
    seed: int,
    weights: tuple[Floats | None, Floats | None] = (None, None),
) -> tuple[Estimate, Estimate]:
    """Compare the distances to the training events of generated and of held-out events.

    Args:
        generated: distances of generated events to their nearest training event (N,).
        held_out: the same of events of the simulation that were not trained on (M,).
        replicas: bootstrap replicas of both samples; the training events stay.
        seed: of the bootstrap.
        weights: event weights of generated and of held-out events.

    Returns:
        The median distance of generated events over that of held-out ones, 1 for a perfect generator and below 1 for
        one that remembers; and the share of generated events nearer than the quantile `SHARE` of held-out ones.

    Raises:
        DataError: half of the held-out events are training events.
    """
    rows = (
        _replicas(len(generated), replicas, seed, weights[0]),
        _replicas(len(held_out), replicas, seed + 1, weights[1]),
    )
    medians = weighted_quantile(generated, 0.5, rows[0]), weighted_quantile(held_out, 0.5, rows[1])
    if medians[1][0] <= SAME:
        raise DataError(
            "half of the reference are training events",
            where="training events",
            expected="a reference that was not trained on",
            found=f"median distance {medians[1][0]:.2g} standard deviations",
            remedy="pass the training part of the file, and the held-out part as the reference",
        )
    ratios = medians[0] / np.maximum(medians[1], SAME)
    # copies count also where the reference has training events of its own, which lie at distance 0
    limits = np.maximum(weighted_quantile(held_out, SHARE, rows[1]), SAME)
    return _estimate(ratios), _estimate(_share_below(generated, limits, rows[0]))


def duplicates(
    generated: Floats,
    reference: Floats,
    *,
    replicas: int,
    seed: int,
    weights: tuple[Floats | None, Floats | None] = (None, None),
) -> tuple[Estimate, Estimate]:
    """Compare the distances between neighbours inside the generated sample with those inside the reference.

    Args:
        generated: distances of generated events to the nearest other one (N,).
        reference: the same of reference events (M,); N = M, since distances shrink as a sample grows.
        replicas: bootstrap replicas of the distances.
        seed: of the bootstrap.
        weights: event weights of both.

    Returns:
        The share of generated events that occur twice; and the share of them nearer to another one than the quantile
        `SHARE` of reference events, `SHARE` for a perfect generator.
    """
    rows = (
        _replicas(len(generated), replicas, seed, weights[0]),
        _replicas(len(reference), replicas, seed + 1, weights[1]),
    )
    limits = np.maximum(weighted_quantile(reference, SHARE, rows[1]), SAME)
    same = _share_below(generated, np.full(len(limits), SAME), rows[0])
    return _estimate(same), _estimate(_share_below(generated, limits, rows[0]))


def _replicas(n: int, replicas: int, seed: int, weights: Floats | None) -> Floats:
    """Weights (1 + R, N): those of the sample itself, then those of its bootstrap replicas."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicas)
    rows = np.concatenate([np.ones((1, n)), drawn])
    return rows if weights is None else rows * weights


def _share_below(values: Floats, limits: Floats, rows: Floats) -> Floats:
    """Share of the weight below a limit, for each row of weights and its limit."""
    order = np.argsort(values, kind="stable")
    cumulative = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows[:, order], axis=1)], axis=1)
    below = np.searchsorted(values[order], limits, side="left")
    return np.asarray(cumulative[np.arange(len(rows)), below] / cumulative[:, -1])


def _estimate(numbers: Floats) -> Estimate:
    """The first number, with the deviation of the others as its error."""
    if not math.isfinite(numbers[0]):
        return Estimate(value=math.nan, error=math.nan)
    return Estimate(value=float(numbers[0]), error=float(numbers[1:].std(ddof=1)))
