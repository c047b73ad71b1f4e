"""Coverage and minimum matching distance between sets of point clouds, with the energy mover's distance.

The energy mover's distance (Komiske, Metodiev, Thaler, arXiv 1902.02346) between two clouds of weighted points is the
least work that turns one into the other, plus the difference of their total weights: sum_ij f_ij r_ij + |W1 - W2|.
Coverage and minimum matching distance (arXiv 1707.02392, with this distance arXiv 2106.11535) need nearest neighbours
only, so pairs are left out whose distance a lower bound shows to be too large; the result is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import DataError
from validation.resampling import chances, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Weights = NDArray[np.floating] | None

EVAL_SAMPLES: Final = 100
BATCHES: Final = 10
_GRID: Final = 9  # landmarks per axis of the lower bound
_SCALES: Final = (0.3, 0.6, 1.2)  # reach of its local functions, in units of the clouds' radius


def energy_movers_distance(first: Floats, second: Floats) -> float:
    """Energy mover's distance between two clouds, with the angular scale R = 1.

    Args:
        first: points (P, 3): two coordinates and a weight, not negative.
        second: points (Q, 3).

    Returns:
        Distance in the unit of the weights.
    """
    return _distance(_points(first), _points(second))


def coverage_and_matching(
    reference: Floats,
    generated: Floats,
    *,
    eval_samples: int = EVAL_SAMPLES,
    batches: int = BATCHES,
    seed: int = 0,
    weights: tuple[Weights, Weights] = (None, None),
) -> tuple[Floats, Floats]:
    """Coverage and minimum matching distance of batches drawn with replacement.

    Coverage is the share of reference clouds that are the nearest one of some generated cloud (about 0.55 for a
    perfect generator at 100 against 100), the matching distance the mean, over the reference clouds, of the distance
    to the nearest generated one.

    Args:
        reference: clouds, shape (N, P, 3): two coordinates and a weight, 0 for empty slots.
        generated: shape (M, Q, 3).
        eval_samples: clouds of each sample in a batch.
        batches: number of batches.
        seed: of the draws, the reference's before the generated ones'.
        weights: event weights of the samples.

    Returns:
        Coverage and matching distance of each batch, shape (batches,) each.

    Raises:
        DataError: negative weights of points, or values that are not finite.
    """
    for name, clouds in (("reference", reference), ("generated", generated)):
        if not np.isfinite(clouds).all() or (clouds[..., 2] < 0).any():
            raise DataError("points need finite coordinates and weights that are not negative", where=name)
    chance = tuple(chances(weight) for weight in weights)
    rng = np.random.default_rng(seed)
    coverage, matching = np.empty(batches), np.empty(batches)
    for batch in range(batches):
        r = reference[draw(rng, len(reference), eval_samples, chance[0])]
        g = generated[draw(rng, len(generated), eval_samples, chance[1])]
        distances = near_distances(g, r)
        matching[batch] = distances.min(axis=0).mean()
        coverage[batch] = np.unique(distances.argmin(axis=1)).size / eval_samples
    return coverage, matching


def near_distances(first: Floats, second: Floats) -> Floats:
    """Energy mover's distances (N, M) between all pairs that may be nearest neighbours, infinite for the others."""
    below = lower_bounds(first, second)
    points = [_points(cloud) for cloud in first], [_points(cloud) for cloud in second]
    found = np.full(below.shape, np.inf)
    nearest = [np.inf] * len(first), [np.inf] * len(second)
    order = np.argsort(below, axis=None)
    for pair, bound in zip(order.tolist(), below.ravel()[order].tolist(), strict=True):
        i, j = divmod(pair, len(second))
        if bound <= max(nearest[0][i], nearest[1][j]):
            found[i, j] = distance = _distance(points[0][i], points[1][j])
            nearest[0][i] = min(nearest[0][i], distance)
            nearest[1][j] = min(nearest[1][j], distance)
    return found


def lower_bounds(first: Floats, second: Floats) -> Floats:
    """Lower bounds (N, M) of the energy mover's distances.

    For every function f with |f| <= 1 and |f(a) - f(b)| <= |a - b| the distance is at least
    |sum_i w_i f(x_i) - sum_j w_j f(y_j)| (Kantorovich and Rubinstein). Here f is 1, the distance to a landmark less
    one, or a cone around it.
    """
    everything = np.concatenate([points.reshape(-1, 3) for points in (first, second)])
    total = everything[:, 2].sum() or 1.0
    radius = float(np.sqrt((everything[:, 2] * (everything[:, :2] ** 2).sum(1)).sum() / total))
    axis = np.linspace(-1.5, 1.5, _GRID) * radius
    landmarks = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    sums = []
    for clouds in (first, second):
        distance = np.linalg.norm(clouds[:, :, None, :2] - landmarks, axis=3)
        values = [np.ones((*distance.shape[:2], 1)), np.minimum(distance, 2.0) - 1.0]
        values += [np.clip(scale * radius - distance, 0.0, 1.0) for scale in _SCALES]
        sums.append(np.einsum("np,npk->nk", clouds[..., 2], np.concatenate(values, axis=2)))
    bounds = np.stack([np.abs(row - sums[1]).max(axis=1) for row in sums[0]])
    return np.asarray(bounds * (1 - 1e-9))  # rounding must not lift a bound above the distance


def _points(cloud: Floats) -> Floats:
    """The points that weigh something, in double precision."""
    return np.asarray(cloud[cloud[:, 2] > 0], np.float64)


def _distance(first: Floats, second: Floats) -> float:
    """The distance between clouds without empty points."""
    import ot

    if len(first) == 0 or len(second) == 0:
        return float(first[:, 2].sum() + second[:, 2].sum())
    squared = (first[:, None, :2] - second[None, :, :2]) ** 2
    cost = np.sqrt(squared[..., 0] + squared[..., 1])
    weights = [first[:, 2].copy(), second[:, 2].copy()]  # the solver wants contiguous arrays
    excess = float(weights[0].sum() - weights[1].sum())
    if excess != 0:  # one point more, at distance 1 from all, takes up what the lighter cloud lacks
        lighter = int(excess > 0)
        weights[lighter] = np.append(weights[lighter], abs(excess))
        cost = np.concatenate([cost, np.ones((len(first), 1) if lighter else (1, len(second)))], axis=lighter)
    return float(ot.emd2(*weights, cost, center_dual=False, check_marginals=False))
