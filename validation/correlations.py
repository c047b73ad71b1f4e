"""Linear correlations of observables: matrices of two samples, and how much they differ.

Pearson's coefficients of all pairs of observables. A generator may have every single distribution right and still
connect them wrongly; this is the simplest place where that shows. Coefficients of two finite samples differ by about
sqrt(2 / n), more where tails are heavy: a difference means something beside its floor only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError
from validation.histograms import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Weights = NDArray[np.floating] | None

_CONSTANT = 1e-10  # variance of a standardised observable that counts as none


@dataclass(frozen=True, kw_only=True)
class CorrelationDifference:
    """How much the correlations of two samples differ.

    Attributes:
        rms: root mean square, over all pairs of observables, of the difference of coefficients.
        rms_error: its bootstrap error.
        largest: largest absolute difference.
        largest_error: its bootstrap error.
        pair: positions of the two observables that it belongs to, None if no pair has a coefficient.
    """

    rms: float
    rms_error: float
    largest: float
    largest_error: float
    pair: tuple[int, int] | None


def correlation_matrix(values: Floats, weights: Weights = None) -> Floats:
    """Pearson's correlation coefficients of weighted events.

    Args:
        values: shape (N, F); NaN marks an undefined entry, which is left out of the pairs that it belongs to.
        weights: event weights (N,).

    Returns:
        (F, F), symmetric, 1 on the diagonal; NaN where an observable is constant or nothing is defined.

    Raises:
        DataError: not a matrix.
    """
    _check(values, values.shape[-1])
    sampler = Resampler(len(values), replicas=1, seed=0)
    return np.stack([rows[0] for rows in _rows(values, weights, sampler, _scales(values))])


def correlation_difference(
    reference: Floats,
    generated: Floats,
    *,
    replicas: int = 100,
    seed: int = 0,
    weights: tuple[Weights, Weights] = (None, None),
) -> CorrelationDifference:
    """Difference of the correlation matrices of two samples, with bootstrap errors.

    Args:
        reference: values (N, F); NaN marks an undefined entry.
        generated: values (M, F).
        replicas: bootstrap replicas, at least 2.
        seed: of the replicas.
        weights: event weights of the samples.

    Returns:
        Root mean square and largest difference over the F (F - 1) / 2 pairs, without those that have no coefficient
        in one of the samples; NaN if none is left.

    Raises:
        DataError: not matrices of equally many columns.
    """
    for values in (reference, generated):
        _check(values, reference.shape[-1])
    scales = _scales(reference)
    samples = [
        _rows(values, weight, Resampler(len(values), replicas=replicas, seed=seed + k), scales)
        for k, (values, weight) in enumerate(zip((reference, generated), weights, strict=True))
    ]
    squares, count = np.zeros(replicas + 1), np.zeros(replicas + 1)
    largest = np.zeros(replicas + 1)
    pair: tuple[int, int] | None = None
    for i, (row_r, row_g) in enumerate(zip(*samples, strict=True)):  # rows of all replicas, the samples' own first
        difference = np.abs(row_r - row_g)[:, :i]
        known = np.isfinite(difference) & np.isfinite(difference[:1])
        difference = np.where(known, difference, 0.0)
        squares += (difference**2).sum(1)
        count += known.sum(1)
        if known[0].any():
            if pair is None or difference[0].max() > largest[0]:
                pair = (int(difference[0].argmax()), i)
            largest = np.maximum(largest, difference.max(1))
    if pair is None:
        return CorrelationDifference(
            rms=math.nan, rms_error=math.nan, largest=math.nan, largest_error=math.nan, pair=None
        )
    rms = np.sqrt(squares / np.maximum(count, 1))
    return CorrelationDifference(
        rms=float(rms[0]),
        rms_error=float(rms[1:].std(ddof=1)),
        largest=float(largest[0]),
        largest_error=float(largest[1:].std(ddof=1)),
        pair=pair,
    )


def _check(values: Floats, columns: int) -> None:
    if values.ndim != 2 or values.shape[1] != columns or len(values) < 2:
        raise DataError("observables must be a matrix", expected=f"(2 or more, {columns})", found=values.shape)


def _scales(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (F,) of the defined entries; taken out, they cost the coefficients no digits."""
    defined = np.isfinite(values)
    count = np.maximum(defined.sum(0), 1)
    mean = np.where(defined, values, 0.0).sum(0) / count
    deviation = np.sqrt(np.where(defined, (values - mean) ** 2, 0.0).sum(0) / count)
    constant = deviation <= 1e-12 * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)


def _rows(values: Floats, weights: Weights, sampler: Resampler, scales: tuple[Floats, Floats]) -> Iterator[Floats]:
    """For each observable its coefficients with all (R + 1, F): those of the sample, then those of the replicas."""
    order = np.argsort(sampler.blocks, kind="stable")
    starts = np.searchsorted(sampler.blocks[order], np.arange(sampler.n_blocks))
    draws = np.concatenate([np.ones((1, sampler.n_blocks)), sampler.draws])
    defined = np.isfinite(values[order])
    x = np.where(defined, (values[order] - scales[0]) / scales[1], 0.0)
    w = (np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)[order])[:, None]
    # one column stands for all where nothing is undefined
    present = np.ones((len(x), 1)) if defined.all() else defined.astype(np.float64)
    wx, wxx, wd = w * x, w * x * x, w * present

    def total(products: Floats) -> Floats:
        return np.asarray(draws @ np.add.reduceat(products, starts, axis=0))

    for i in range(x.shape[1]):
        here = present[:, [i]] if present.shape[1] > 1 else present
        with np.errstate(invalid="ignore", divide="ignore"):  # pairs without entries, constant observables
            sums = total(wd * here)
            mean_i, mean_j = total(wx[:, [i]] * present) / sums, total(wx * here) / sums
            variance_i = total(wxx[:, [i]] * present) / sums - mean_i**2
            variance_j = total(wxx * here) / sums - mean_j**2
            covariance = total(wx * x[:, [i]]) / sums - mean_i * mean_j
            varies = (variance_i > _CONSTANT) & (variance_j > _CONSTANT)
            coefficient = covariance / np.sqrt(np.where(varies, variance_i * variance_j, np.nan))
        yield np.clip(coefficient, -1.0, 1.0)
