"""How far a morphing moves events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.weights import effective_sample_size, weighted_quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def distances(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distance of each event, (N, D) and (N, D) to (N,); in standard deviations if both are scaled."""
    return np.asarray(np.linalg.norm(after - before, axis=1))


def movement_statistics(
    scaled_before: NDArray[np.float64],
    scaled_after: NDArray[np.float64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    names: Sequence[str],
    weights: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Summary of a movement, JSON-able.

    Args:
        scaled_before: source events (N, D) in standard deviations.
        scaled_after: the same events morphed.
        before: source events (N, D) in their units.
        after: the same events morphed.
        names: of the D observables.
        weights: of the events (N,); None where all count the same.

    Returns:
        ``mean_l2``, ``median_l2``, ``q95_l2`` and ``mean_l1`` (mean over events of the sum over observables), all in
        standard deviations, ``error`` of ``mean_l2``; ``features``: name -> ``mean_shift`` and ``mean_distance`` in
        the observable's unit; ``n``.
    """
    moved = distances(scaled_before, scaled_after)
    shift = after - before
    size = len(moved) if weights is None else effective_sample_size(weights)[0]

    def mean(values: NDArray[np.float64]) -> float:
        return float(np.average(values, weights=weights))

    def quantile(share: float) -> float:
        if weights is None:
            return float(np.quantile(moved, share))
        return float(weighted_quantiles(moved, np.array([share]), weights)[0])

    return {
        "n": len(moved),
        "mean_l2": mean(moved),
        "error": float(np.sqrt(mean((moved - mean(moved)) ** 2) / size)),
        "median_l2": quantile(0.5),
        "q95_l2": quantile(0.95),
        "mean_l1": mean(np.abs(scaled_after - scaled_before).sum(axis=1)),
        "features": {
            name: {"mean_shift": mean(shift[:, k]), "mean_distance": mean(np.abs(shift[:, k]))}
            for k, name in enumerate(names)
        },
    }
