"""Cell by cell: is each cell of the detector lit as often as in the reference?

Distributions of whole events hardly notice one dead or hot cell; the occupancy of that cell does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from validation.measure import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64] | NDArray[np.float32]
    Floats = NDArray[np.float64]

LEAST_EVENTS: Final = 20
"""Cells that are lit, or dark, in fewer events of both samples together are left out: their pulls are not Gaussian."""
_COLUMNS = 2048  # cells treated at once


def occupancy_pulls(lit: tuple[Values, Values], effective: tuple[Floats, Floats]) -> Floats:
    """Difference of two occupancies over its error, the pooled two-proportion test.

    Args:
        lit: shares of events (..., V) in which a cell is lit, of both samples.
        effective: effective numbers of events (..., 1) of both samples.

    Returns:
        (..., V); NaN for cells that are lit, or dark, in fewer than `LEAST_EVENTS` events.
    """
    total = effective[0] + effective[1]
    pooled = (lit[0] * effective[0] + lit[1] * effective[1]) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        pulls = (lit[0] - lit[1]) / np.sqrt(pooled * (1 - pooled) * (1 / effective[0] + 1 / effective[1]))
    return np.asarray(np.where(np.minimum(pooled, 1 - pooled) * total >= LEAST_EVENTS, pulls, np.nan))


def cell_occupancy(
    generated: Values,
    reference: Values,
    *,
    replicas: int,
    seed: int,
    weights: tuple[Floats | None, Floats | None] = (None, None),
) -> tuple[Estimate, Estimate]:
    """Largest and mean square pull of the cells' occupancies, with bootstrap errors.

    Args:
        generated: content of cells (N, V), 0 in dark ones.
        reference: the same of the reference (M, V).
        replicas: bootstrap replicas of both samples.
        seed: of the bootstrap.
        weights: event weights of both.

    Returns:
        max |pull|, about sqrt(2 ln V) for equal samples; and mean pull^2, 1 for equal samples. NaN if no cell counts.
    """
    rows = [
        _rows(len(values), replicas, seed + k, weight)
        for k, (values, weight) in enumerate(zip((generated, reference), weights, strict=True))
    ]
    effective = tuple(
        _effective(weight, len(values)) for values, weight in zip((generated, reference), weights, strict=True)
    )
    largest = np.zeros(replicas + 1)
    squares, counted = np.zeros(replicas + 1), np.zeros(replicas + 1)
    for start in range(0, generated.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        lit = [
            row @ (values[:, part] > 0).astype(np.float32)
            for row, values in zip(rows, (generated, reference), strict=True)
        ]
        pulls = occupancy_pulls((lit[0], lit[1]), (effective[0], effective[1]))
        counts = np.isfinite(pulls)
        square = np.where(counts, pulls, 0.0) ** 2
        largest = np.maximum(largest, square.max(1))
        squares, counted = squares + square.sum(1), counted + counts.sum(1)
    if counted[0] == 0:
        return (Estimate(value=math.nan, error=math.nan),) * 2
    mean = squares / np.maximum(counted, 1)
    found = np.sqrt(largest), mean
    return tuple(Estimate(value=float(x[0]), error=float(x[1:].std(ddof=1))) for x in found)  # type: ignore[return-value]


def _rows(n: int, replicas: int, seed: int, weights: Floats | None) -> NDArray[np.float32]:
    """Shares of the events (1 + R, N): in the sample itself, then in its bootstrap replicas."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicas)
    rows = np.concatenate([np.ones((1, n)), drawn])
    if weights is not None:
        rows = rows * weights
    return np.asarray(rows / rows.sum(1, keepdims=True), np.float32)


def _effective(weights: Floats | None, n: int) -> Floats:
    return np.array([float(n if weights is None else weights.sum() ** 2 / np.sum(weights**2))])
