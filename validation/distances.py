"""Wasserstein-1 and Kolmogorov-Smirnov distances in one dimension, with bootstrap replicas; W1 also over batches.

Both compare the distribution functions F1 and F2 of two weighted samples: W1 is the area between them, in the unit
of the values, KS their largest difference, between 0 and 1. One sort of the pooled entries gives both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError
from validation.histograms import Resampler, block_counts
from validation.resampling import chances, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64] | NDArray[np.float32]
    Floats = NDArray[np.float64]

_NODES = 2048  # support points of the distribution functions in bootstrap replicas
_STEPS = 257  # and those in equal steps


def wasserstein(
    first: Values,
    second: Values,
    first_weights: Values | None = None,
    second_weights: Values | None = None,
) -> float:
    """W1 = `integral |F1(x) - F2(x)| dx` between two weighted samples, exact.

    Args:
        first: values (N,) or (N, M); NaN (undefined) entries are left out.
        second: values of the other sample.
        first_weights: event weights (N,).
        second_weights: event weights of the other sample.

    Returns:
        Distance in the unit of the values; NaN if a sample has no defined entry.
    """
    return line_distances(first, second, first_weights, second_weights)[0]


def kolmogorov_smirnov(
    first: Values,
    second: Values,
    first_weights: Values | None = None,
    second_weights: Values | None = None,
) -> float:
    """KS = `max |F1(x) - F2(x)|` between two weighted samples, exact (`scipy.stats.ks_2samp` without weights).

    Takes what `wasserstein` takes.

    Returns:
        Distance between 0 and 1; NaN if a sample has no defined entry.

    Raises:
        DataError: weights of a sample that sum to zero or less.
    """
    return line_distances(first, second, first_weights, second_weights)[1]


def line_distances(
    first: Values,
    second: Values,
    first_weights: Values | None = None,
    second_weights: Values | None = None,
) -> tuple[float, float]:
    """`wasserstein` and `kolmogorov_smirnov` of the same samples, from one sort."""
    x, wx = _defined(first, first_weights)
    y, wy = _defined(second, second_weights)
    if x.size == 0 or y.size == 0:
        return float("nan"), float("nan")
    if wx.sum() <= 0 or wy.sum() <= 0:
        raise DataError("weights of a sample sum to zero or less", remedy="check the weights")
    pooled = np.concatenate([x, y]).astype(np.float64)
    steps = np.concatenate([wx / wx.sum(), -wy / wy.sum()])
    order = np.argsort(pooled, kind="stable")
    difference = np.abs(np.cumsum(steps[order])[:-1])
    gaps = np.diff(pooled[order])
    # within equal values the sum is not yet a difference of distribution functions
    return float(np.sum(difference * gaps)), float(np.max(difference, initial=0.0, where=gaps > 0))


def wasserstein_replicas(
    first: Values,
    second: Values,
    samplers: tuple[Resampler, Resampler],
    first_weights: Values | None = None,
    second_weights: Values | None = None,
) -> Floats:
    """Bootstrap replicas (R,) of W1; distribution functions on at most 2048 quantiles of both samples."""
    return line_replicas(first, second, samplers, first_weights, second_weights)[0]


def line_replicas(
    first: Values,
    second: Values,
    samplers: tuple[Resampler, Resampler],
    first_weights: Values | None = None,
    second_weights: Values | None = None,
) -> tuple[Floats, Floats]:
    """Bootstrap replicas (R,) of W1 and of KS; distribution functions on at most 2048 quantiles of both samples."""
    replicas_drawn = len(samplers[0].draws)
    pooled = np.concatenate([_defined(first, None)[0], _defined(second, None)[0]])
    if pooled.size == 0:
        return np.full(replicas_drawn, np.nan), np.full(replicas_drawn, np.nan)
    nodes = _nodes(pooled)
    if nodes.size < 2:
        return np.zeros(replicas_drawn), np.zeros(replicas_drawn)
    nodes = np.append(nodes, np.nextafter(nodes[-1], np.inf))  # the largest value has a bin of its own
    cumulative = []
    for values, weights, sampler in (
        (first, first_weights, samplers[0]),
        (second, second_weights, samplers[1]),
    ):
        counts = block_counts(values, nodes, sampler.blocks, sampler.n_blocks, weights)
        replicas = np.cumsum(sampler.draws @ counts[:, :-1], axis=1)
        total = replicas[:, -1:]
        cumulative.append(replicas[:, 1:-1] / np.where(total > 0, total, 1.0))
    # bin k holds the entries in [node_k, node_k+1): the distribution function there is taken constant
    difference = np.abs(cumulative[0] - cumulative[1])
    return np.asarray((difference * np.diff(nodes)).sum(1)), np.asarray(difference.max(1))


def _nodes(values: Values) -> Floats:
    """Where distribution functions are taken: quantiles, and equal steps that follow a long tail to its end.

    Quantiles of many values are those of values drawn at random; every k-th value would come from the same cells of
    a detector whenever k divides their number.
    """
    low, high = float(values.min()), float(values.max())
    if values.size > 100 * _NODES:
        values = values[np.random.default_rng(0).integers(0, values.size, 100 * _NODES)]
    quantiles = np.quantile(values, np.linspace(0, 1, min(_NODES, values.size)))
    steps = np.linspace(low, high, _STEPS)
    return np.unique(np.concatenate([quantiles.astype(np.float64), steps]))


def wasserstein_batches(
    first: Values,
    second: Values,
    *,
    eval_samples: int,
    batches: int = 5,
    seed: int = 0,
    weights: tuple[Values | None, Values | None] = (None, None),
) -> Floats:
    """W1 of batches drawn with replacement, as jets are compared since arXiv 2106.11535.

    Both samples are drawn from, so a batch holds the noise of the draw besides that of the samples: compare with
    numbers of equal `eval_samples` only, such as a floor.

    Args:
        first: values (N,), (N, F) or (N, P, F); NaN (undefined) entries are left out.
        second: values of the other sample.
        eval_samples: events drawn from each sample for a batch.
        batches: number of batches B.
        seed: of the draws, the first sample's before the second's.
        weights: event weights of the samples, by which they are drawn.

    Returns:
        Distance of each batch and feature, shape (B, F); (B, 1) for values (N,).
    """
    chance = tuple(chances(weight) for weight in weights)
    columns = [np.moveaxis(v.reshape(len(v), -1, v.shape[-1] if v.ndim > 1 else 1), 2, 0) for v in (first, second)]
    rng = np.random.default_rng(seed)
    found = np.empty((batches, len(columns[0])))
    for batch in range(batches):
        one = draw(rng, len(first), eval_samples, chance[0])
        two = draw(rng, len(second), eval_samples, chance[1])
        for k, (x, y) in enumerate(zip(*columns, strict=True)):
            found[batch, k] = wasserstein(x[one], y[two])
    return found


def _defined(values: Values, weights: Values | None) -> tuple[Values, Floats]:
    """Flattened defined values and one weight for each."""
    mask = np.isfinite(values)
    flat = values[mask]
    if weights is None:
        return flat, np.ones(flat.size)
    columns = np.asarray(weights, np.float64)
    spread = columns if values.ndim == 1 else np.broadcast_to(columns[:, None], values.shape)
    return flat, spread[mask]
