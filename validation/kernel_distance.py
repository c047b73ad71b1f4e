"""The kernel physics distance (KPD): a maximum mean discrepancy with a polynomial kernel (arXiv 2211.10295)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import DataError
from validation.frechet import scaled_features
from validation.resampling import carried, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Weights = NDArray[np.floating] | None

BATCH_SIZE: Final = 5_000
"""Events of a batch, as published; smaller samples are drawn from up to their size."""
BATCHES: Final = 10
_ROWS: Final = 256  # of the kernel matrix at a time
_CENTRAL: Final = (16.275, 83.725)  # percentiles, as in the reference implementation


def kernel_physics_distance(
    reference: Floats,
    generated: Floats,
    *,
    batch_size: int | None = None,
    batches: int = BATCHES,
    seed: int = 42,
    weights: tuple[Weights, Weights] = (None, None),
) -> tuple[float, float]:
    """KPD: the median over batches of the unbiased squared MMD with the kernel (x y / F + 1)^4.

    Args:
        reference: features, shape (N, F); divided, like the others, by their largest absolute values.
        generated: shape (M, F).
        batch_size: events drawn with replacement for a batch; None takes 5000 or as many as the smaller sample has.
        batches: number of batches.
        seed: of the draws; batch i uses seed + 1000 i.
        weights: event weights of the samples, which every pair of events enters with.

    Returns:
        Median and half the range between the 16.275 and 83.725 percentiles of the batches. The value may be
        negative: the estimate is unbiased.

    Raises:
        DataError: fewer than 2 events a batch, or features that do not fit together.
    """
    size = min(BATCH_SIZE, len(reference), len(generated)) if batch_size is None else batch_size
    if size < 2:
        raise DataError("too few events for KPD", expected="2 in a batch", found=size)
    x, y = scaled_features(reference, generated)
    heavy = [carried(w, len(v)) for v, w in zip((x, y), weights, strict=True)]
    found = []
    for batch in range(batches):
        rng = np.random.default_rng(seed + 1000 * batch)
        one, two = draw(rng, len(x), size), draw(rng, len(y), size)
        drawn = [None if w is None else w[index] for w, index in zip(heavy, (one, two), strict=True)]
        found.append(squared_mmd(x[one], y[two], weights=(drawn[0], drawn[1])))
    low, high = np.percentile(found, _CENTRAL)
    return float(np.median(found)), float(high - low) / 2


def squared_mmd(first: Floats, second: Floats, *, weights: tuple[Weights, Weights] = (None, None)) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy between (N, F) and (M, F); may be negative.

    Pairs of events count with the product of their weights; no event is paired with itself.
    """
    w, v = (
        np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
        for values, weight in zip((first, second), weights, strict=True)
    )
    within = []
    for values, weight in ((first, w), (second, v)):
        diagonal = float(_kernel((values * values).sum(1), values.shape[1]) @ weight**2)
        norm = float(weight.sum() ** 2 - weight @ weight)
        within.append((_kernel_sum_within(values, weight) - diagonal) / norm)
    return within[0] + within[1] - 2 * _kernel_sum(first, second, w, v) / float(w.sum() * v.sum())


def _kernel_sum(first: Floats, second: Floats, w: Floats, v: Floats) -> float:
    """Weighted sum of the kernel over all pairs."""
    total = 0.0
    for start in range(0, len(first), _ROWS):
        rows = slice(start, start + _ROWS)
        total += float(w[rows] @ _kernel(first[rows] @ second.T, first.shape[1]) @ v)
    return total


def _kernel_sum_within(values: Floats, w: Floats) -> float:
    """The same over all pairs of one sample, each pair of different events computed once."""
    total = 0.0
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        products = _kernel(values[rows] @ values[start:].T, values.shape[1])
        here = products[:, : len(products)]
        total += float(w[rows] @ (2 * (products @ w[start:]) - here @ w[rows]))
    return total


def _kernel(products: Floats, n_features: int) -> Floats:
    """(x y / F + 1)^4 from inner products, in place."""
    products /= n_features
    products += 1.0
    products *= products
    products *= products
    return products
