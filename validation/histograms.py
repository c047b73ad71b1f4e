"""Histograms that count every entry, and the separation power between two of them.

Entries outside the edges and entries that are not defined (the centre of an empty layer) have categories of
their own: a generator that puts showers outside the published range is not flattered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64] | NDArray[np.float32]
    Floats = NDArray[np.float64]

MIN_BINS, MAX_BINS = 12, 60
_CENTRAL = 0.998  # share of the reference inside derived edges; the rest is counted as out of range
_CHUNK = 4_000_000  # entries histogrammed at once, to bound memory


def derive_edges(values: Values, *, n_events: int, log: bool = False, bins: int | None = None) -> Floats:
    """Histogram edges for one observable, from the reference.

    Equal bins (in the logarithm if `log`) over the central 99.8 % of the entries; their number is
    2 n^(1/3) (Rice's rule) between 12 and 60, so that bins stay filled in small samples.

    Args:
        values: reference values of any shape; NaN is ignored, and non-positive ones too if `log`.
        n_events: number of events of one compared sample, for the number of bins.
        log: whether bins are equal in the logarithm.
        bins: number of bins instead of Rice's rule.

    Returns:
        Edges, shape (bins + 1,), strictly increasing.
    """
    flat = values[np.isfinite(values) & (values > 0)] if log else values[np.isfinite(values)]
    count = bins if bins is not None else int(np.clip(round(2 * n_events ** (1 / 3)), MIN_BINS, MAX_BINS))
    if flat.size == 0:
        return np.linspace(0.1 if log else 0.0, 1.0, count + 1)
    if flat.size > _CHUNK:  # drawn at random: every k-th entry may come from the same few cells of a detector
        flat = flat[np.random.default_rng(0).integers(0, flat.size, _CHUNK)]
    low, high = (float(q) for q in np.quantile(flat, [(1 - _CENTRAL) / 2, (1 + _CENTRAL) / 2]))
    if high <= low:
        margin = 0.5 * abs(low) or 0.5
        low, high = low - margin, low + margin
    if log:
        return np.geomspace(low, high, count + 1)
    return np.linspace(low, high, count + 1)


def block_counts(
    values: Values,
    edges: Floats,
    blocks: NDArray[np.int64],
    n_blocks: int,
    weights: Values | None = None,
) -> Floats:
    """Histogram of each block of events, with its out-of-range entries.

    Args:
        values: (N,) or (N, M).
        edges: (K + 1,), increasing; the last bin contains its upper edge.
        blocks: block number of each event (N,), in 0..n_blocks-1.
        n_blocks: number of blocks.
        weights: event weights (N,).

    Returns:
        Sums of weights (n_blocks, K + 3): below the edges, the K bins, above, undefined (NaN).
    """
    width = len(edges) + 2
    total = np.zeros(n_blocks * width)
    entries = 1 if values.ndim == 1 else values.shape[1]
    step = max(1, _CHUNK // max(1, entries))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        index = np.searchsorted(edges, part, side="right")
        index[part == edges[-1]] = len(edges) - 1
        index[np.isnan(part)] = width - 1
        offset = blocks[start : start + step] * width
        index += offset if part.ndim == 1 else offset[:, None]
        if weights is None:
            total += np.bincount(index.ravel(), minlength=total.size)
        else:
            weight = np.repeat(np.asarray(weights[start : start + step], np.float64), entries)
            total += np.bincount(index.ravel(), weights=weight, minlength=total.size)
    return np.asarray(total.reshape(n_blocks, width))


def histogram(values: Values, edges: Floats, weights: Values | None = None) -> Floats:
    """Sums of weights (K + 3,): below the edges, the K bins, above, undefined."""
    whole: Floats = block_counts(values, edges, np.zeros(len(values), np.int64), 1, weights)
    return np.asarray(whole[0])


def separation_power(first: Floats, second: Floats) -> Floats:
    """Separation power <S^2> = 1/2 sum (h1 - h2)^2 / (h1 + h2) of histograms normalised to one.

    Args:
        first: counts (..., K), out-of-range categories included.
        second: counts (..., K).

    Returns:
        (...,) between 0 (equal) and 1 (disjoint).

    Raises:
        DataError: a histogram without entries.
    """
    sums = first.sum(-1, keepdims=True), second.sum(-1, keepdims=True)
    if np.any(sums[0] <= 0) or np.any(sums[1] <= 0):
        raise DataError("histogram without entries", remedy="use more events")
    h1, h2 = first / sums[0], second / sums[1]
    both = h1 + h2
    safe = np.where(both > 0, both, 1.0)
    return np.asarray(0.5 * ((h1 - h2) ** 2 / safe).sum(-1))


def separation_inside(first: Floats, second: Floats) -> Floats:
    """Separation power of the entries within the edges alone, as the CaloChallenge's evaluation code has it.

    That code normalises what falls within the edges (``hist(..., density=True)``), so a generator whose entries leave
    the range is not charged for it: `separation_power` of all categories is the stricter number.

    Args:
        first: counts (..., K + 3): below the edges, the K bins, above, undefined.
        second: counts (..., K + 3).

    Returns:
        (...,) between 0 and 1; NaN where a sample has no entry within the edges.
    """
    inside = first[..., 1:-2], second[..., 1:-2]
    sums = [counts.sum(-1) for counts in inside]
    filled = (sums[0] > 0) & (sums[1] > 0)
    safe = [np.where(filled[..., None], counts, 1.0) for counts in inside]
    return np.where(filled, separation_power(*safe), np.nan)


def out_of_range(first: Floats, second: Floats) -> dict[str, list[float]]:
    """Shares of the entries below and above the edges and of undefined ones, [first, second].

    Args:
        first: counts (K + 3,) with a positive sum.
        second: the same of the other sample.
    """
    shares = [counts / counts.sum() for counts in (first, second)]
    places = {"underflow": 0, "overflow": -2, "undefined": -1}
    return {name: [float(share[place]) for share in shares] for name, place in places.items()}


class Resampler:
    """Seeded bootstrap over blocks of events.

    Events are dealt at random into at most `MAX_BLOCKS` blocks; a replica draws blocks with replacement.
    With one event a block this is the ordinary bootstrap. Histograms of blocks make a replica a matrix
    product, and all observables share the replicas, so that the uncertainty of their mean knows their
    correlation.

    Args:
        n: number of events.
        replicas: number of bootstrap replicas R.
        seed: seed of the drawing.
    """

    MAX_BLOCKS = 400

    def __init__(self, n: int, *, replicas: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.n_blocks = min(n, self.MAX_BLOCKS)
        self.blocks: NDArray[np.int64] = rng.permutation(np.arange(n, dtype=np.int64) % self.n_blocks)
        draws = rng.multinomial(self.n_blocks, np.full(self.n_blocks, 1 / self.n_blocks), size=replicas)
        self.draws: Floats = draws.astype(np.float64)

    def histograms(self, values: Values, edges: Floats, weights: Values | None) -> tuple[Floats, Floats]:
        """Histogram (K + 3,) and its bootstrap replicas (R, K + 3)."""
        counts = block_counts(values, edges, self.blocks, self.n_blocks, weights)
        return counts.sum(0), self.draws @ counts
