"""How far a morphing moves events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
) -> dict[str, Any]:
    """Summary of a movement, JSON-able.

    Args:
        scaled_before: source events (N, D) in standard deviations.
        scaled_after: the same events morphed.
        before: source events (N, D) in their units.
        after: the same events morphed.
        names: of the D observables.

    Returns:
        ``mean_l2``, ``median_l2``, ``q95_l2`` and ``mean_l1`` (mean over events of the sum over observables), all in
        standard deviations, ``error`` of ``mean_l2``; ``features``: name -> ``mean_shift`` and ``mean_distance`` in
        the observable's unit; ``n``.
    """
    moved = distances(scaled_before, scaled_after)
    shift = after - before
    return {
        "n": len(moved),
        "mean_l2": float(moved.mean()),
        "error": float(moved.std() / np.sqrt(len(moved))),
        "median_l2": float(np.median(moved)),
        "q95_l2": float(np.quantile(moved, 0.95)),
        "mean_l1": float(np.abs(scaled_after - scaled_before).sum(axis=1).mean()),
        "features": {
            name: {"mean_shift": float(shift[:, k].mean()), "mean_distance": float(np.abs(shift[:, k]).mean())}
            for k, name in enumerate(names)
        },
    }
