"""Points on a circle and on the Lorenz attractor, and how far generated ones miss them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.plane_sets import jensen_shannon

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Points = NDArray[np.float64]

CIRCLE: Final = (1.0, -1.0)
_SPREAD, _FUZZ = np.pi / 4, 0.01  # of angle and radius, as in the paper's code
_STEP, _BURN_IN, _CHAINS = 0.01, 1000, 200
_WRAPS: Final = np.arange(-3, 4) * 2 * np.pi
# radii less 1 at which an ambient density is integrated across the circle: finest where it is
_ACROSS: Final = np.unique(np.concatenate([np.linspace(-0.6, 0.6, 121), np.linspace(-0.05, 0.05, 401)]))


def circle(n: int, seed: int) -> Points:
    """Points (n, 2) near the circle: normal angle and radius."""
    rng = np.random.default_rng(seed)
    angle, radius = _SPREAD * rng.normal(size=n), 1 + _FUZZ * rng.normal(size=n)
    return np.asarray(np.array(CIRCLE) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def lorenz(n: int, seed: int) -> Points:
    """Points (n, 3) of trajectories on the attractor, in standard deviations of a long run."""
    rng = np.random.default_rng(seed)
    state = rng.normal(np.array([0.0, 0.0, 25.0]), 1.0, (_CHAINS, 3))
    kept = []
    each = -(-n // _CHAINS)
    for step in range(_BURN_IN + 10 * each):
        state = _runge_kutta(state)
        if step >= _BURN_IN and step % 10 == 0:
            kept.append(state)
    points = np.concatenate(kept)[rng.permutation(_CHAINS * each)[:n]]
    return (points - [0.0, 0.0, 23.55]) / [7.92, 9.01, 8.62]


def circle_errors(generated: Points, log_prob: Callable[[Points], Points], *, ambient: bool) -> dict[str, float]:
    """Distance of points from the circle, and mean error of the log density along it, weighted as the true density.

    Args:
        generated: shape (N, 2).
        log_prob: log density of points (K, 2).
        ambient: whether it is one of the plane, to be integrated across the circle; else one per length of the curve.
    """
    angle = _SPREAD * np.random.default_rng(5).normal(size=300)
    from scipy.integrate import trapezoid

    density = np.exp(-0.5 * ((angle[:, None] + _WRAPS) / _SPREAD) ** 2) / (np.sqrt(2 * np.pi) * _SPREAD)
    known = np.log(density.sum(1))
    on = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    centre = np.array(CIRCLE)
    if ambient:
        across = np.stack([np.exp(log_prob(centre + (1 + r) * on)) * (1 + r) for r in _ACROSS], axis=1)
        found = np.log(trapezoid(across, _ACROSS, axis=1))
    else:
        found = log_prob(centre + on)
    x, y = (generated - centre).T
    distance = np.abs(np.hypot(x, y) - 1)
    return {"distance": float(distance.mean()), "density_error": float(np.abs(found - known).mean())}


def attractor_errors(generated: Points) -> dict[str, float]:
    """Distance of points from the attractor, less that of true ones, and divergence in cells of two coordinates."""
    from scipy.spatial import cKDTree

    tree = cKDTree(lorenz(200_000, 11))
    true = lorenz(len(generated), 12)
    distance, floor = (float(np.mean(tree.query(points)[0])) for points in (generated, true))
    pairs = list(combinations(range(3), 2))
    divergence = [jensen_shannon(generated[:, pair], true[:, pair], reach=3.0) for pair in map(list, pairs)]
    return {
        "distance": max(distance - floor, 0.0),
        "distance_floor": floor,
        "density_error": float(np.mean(divergence)),
    }


def _runge_kutta(state: Points) -> Points:
    one = _velocity(state)
    two = _velocity(state + 0.5 * _STEP * one)
    three = _velocity(state + 0.5 * _STEP * two)
    four = _velocity(state + _STEP * three)
    return np.asarray(state + _STEP / 6 * (one + 2 * two + 2 * three + four))


def _velocity(state: Points) -> Points:
    x, y, z = state.T
    return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=1)
