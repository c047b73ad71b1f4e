"""Matrices of linear correlations between layers, and how far two of them are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError
from validation.histograms import Resampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64] | NDArray[np.float32]
    Floats = NDArray[np.float64]


def correlation_matrix(values: Values, weights: Values | None = None) -> Floats:
    """Pearson correlations (L, L) between the columns of (N, L); NaN where a column is constant."""
    x = _standardised(values)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    whole = np.concatenate([[w.sum()], w @ x, (x.T @ (x * w[:, None])).ravel()])
    return np.asarray(_correlations(whole[None], x.shape[1])[0])


def matrix_difference(first: Floats, second: Floats) -> Floats:
    """Root mean square of the differences of two matrices (..., L, L) above the diagonal.

    Pairs that are not defined in one of the matrices are left out; NaN if none is left.
    """
    upper = np.triu_indices(first.shape[-1], k=1)
    squares = (first[..., upper[0], upper[1]] - second[..., upper[0], upper[1]]) ** 2
    defined = np.isfinite(squares)
    count = defined.sum(-1)
    total = np.where(defined, squares, 0.0).sum(-1)
    return np.asarray(np.sqrt(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)))


def correlation_difference(
    first: tuple[Values, Values | None],
    second: tuple[Values, Values | None],
    *,
    replicas: int,
    seed: int,
) -> tuple[float, float]:
    """Root mean square difference of the correlations of two samples, and its bootstrap error.

    Args:
        first: values (N, L) and event weights (N,) or None.
        second: values (M, L) and event weights of the other sample.
        replicas: bootstrap replicas.
        seed: of the bootstrap.

    Returns:
        The difference, which finite samples keep above 0 (compare it with its floor), and its error.

    Raises:
        DataError: not matrices of equally many columns.
    """
    for values, _ in (first, second):
        if values.ndim != 2 or values.shape[1] != first[0].shape[-1]:
            raise DataError("layers must be a matrix", expected=f"(N, {first[0].shape[-1]})", found=values.shape)
    if min(len(first[0]), len(second[0])) < 2:
        return float("nan"), float("nan")
    found, drawn = [], []
    for offset, (values, weights) in enumerate((first, second)):
        found.append(correlation_matrix(values, weights))
        sampler = Resampler(len(values), replicas=replicas, seed=seed + offset)
        drawn.append(_replicas(values, weights, sampler))
    value = float(matrix_difference(*found))
    spread = matrix_difference(*drawn)
    spread = spread[np.isfinite(spread)]
    return value, float(spread.std(ddof=1)) if len(spread) > 1 else float("nan")


def _replicas(values: Values, weights: Values | None, sampler: Resampler) -> Floats:
    """Correlations (R, L, L) of bootstrap replicas, from the moments of blocks of events."""
    x = _standardised(values)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    order = np.argsort(sampler.blocks, kind="stable")
    ends = np.cumsum(np.bincount(sampler.blocks, minlength=sampler.n_blocks))[:-1]
    moments = [
        np.concatenate([[part_w.sum()], part_w @ part, (part.T @ (part * part_w[:, None])).ravel()])
        for part, part_w in zip(np.split(x[order], ends), np.split(w[order], ends), strict=True)
    ]
    return _correlations(sampler.draws @ np.array(moments), x.shape[1])


def _standardised(values: Values) -> Floats:
    """Columns in units of their deviation about their mean: correlations are the same, digits are kept."""
    x = np.asarray(values, np.float64)
    deviation = x.std(0)
    scale = np.where(deviation > 1e-12 * np.abs(x).max(0, initial=0.0), deviation, np.inf)  # constant: no correlation
    return np.asarray((x - x.mean(0)) / scale)


def _correlations(moments: Floats, size: int) -> Floats:
    """Correlations (R, L, L) from sums of weights, of values and of products (R, 1 + L + L^2)."""
    total = moments[:, :1]
    mean = moments[:, 1 : 1 + size] / total
    products = (moments[:, 1 + size :] / total).reshape(-1, size, size)
    covariance = products - mean[:, :, None] * mean[:, None, :]
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    scale = np.sqrt(np.maximum(variance, 0.0))[:, :, None] * np.sqrt(np.maximum(variance, 0.0))[:, None, :]
    matrix = np.full(covariance.shape, np.nan)
    np.divide(covariance, scale, out=matrix, where=scale > 0)
    return matrix
