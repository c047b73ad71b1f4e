"""Earth mover's distance and Jensen-Shannon divergence of points in the plane, on two-dimensional histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.refinement_toys import Points

    Floats = NDArray[np.float64]

EMD_BINS, JSD_BINS = 32, 64


def histogram(points: Points, *, bins: int, reach: float) -> Floats:
    """Shares of the weight in bins x bins cells; points beyond `reach` count in the outermost ones."""
    edges = np.linspace(-reach, reach, bins + 1)
    inside = np.clip(points.values, -reach, np.nextafter(np.float32(reach), np.float32(0)))
    counts, _, _ = np.histogram2d(inside[:, 0], inside[:, 1], bins=(edges, edges), weights=points.weights)
    return np.asarray(counts / counts.sum(), np.float64)


def jensen_shannon(a: Floats, b: Floats) -> float:
    """Divergence of two histograms in bits: 0 for equal ones, 1 for those that do not overlap."""
    middle = 0.5 * (a + b)
    parts = [np.sum(p[p > 0] * np.log2(p[p > 0] / middle[p > 0])) for p in (a, b)]
    return float(0.5 * sum(parts))


def earth_movers(a: Floats, b: Floats, *, reach: float) -> float:
    """Earth mover's distance of two histograms with Euclidean distances between the centres of their cells (POT)."""
    import ot

    bins = len(a)
    centres = (np.arange(bins) + 0.5) * 2 * reach / bins - reach
    grid = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
    p, q = a.ravel(), b.ravel()
    rows, columns = p > 0, q > 0
    cost = ot.dist(grid[rows], grid[columns], metric="euclidean")
    return float(ot.emd2(p[rows], q[columns], cost, numItermax=10_000_000))


def compare(points: Points, truth: Points, *, reach: float) -> dict[str, float]:
    """`emd` and `jsd` of points against true ones."""
    fine = [histogram(sample, bins=JSD_BINS, reach=reach) for sample in (points, truth)]
    coarse = [histogram(sample, bins=EMD_BINS, reach=reach) for sample in (points, truth)]
    return {"emd": earth_movers(*coarse, reach=reach), "jsd": jensen_shannon(*fine)}
