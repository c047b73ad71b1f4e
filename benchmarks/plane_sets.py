"""Sets of points in the plane on which morphing and manifolds are measured.

Shapes as in the flows-for-flows paper (arXiv:2211.02487), with parameters of our own where it states none: four circles
of radius 2 about (+-1, +-1), width 0.1; a star of four arms from 0.6 to 2.6, width 0.2; a checkerboard of 2 x 2 squares
in [-4, 4]^2. The conditional sets are these, turned by an angle that is uniform in [0, 45] degrees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepflows.feature_table import Column, FeatureTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Points = NDArray[np.float64]

MAX_ANGLE = np.pi / 4


def four_circles(n: int, rng: np.random.Generator) -> Points:
    angle = rng.uniform(0, 2 * np.pi, n)
    centre = 2.0 * rng.integers(0, 2, (n, 2)) - 1.0
    circle = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(centre + circle + 0.1 * rng.normal(size=(n, 2)))


def star(n: int, rng: np.random.Generator) -> Points:
    arm = np.stack([0.6 + 2 * rng.random(n), np.zeros(n)], axis=1) + 0.1 * rng.normal(size=(n, 2))
    return rotated(arm, np.asarray(np.pi / 2 * rng.integers(0, 4, n), np.float64))


def checkerboard(n: int, rng: np.random.Generator) -> Points:
    x = rng.uniform(-2, 2, n)
    y = rng.random(n) - 2 * rng.integers(0, 2, n) + np.floor(x) % 2
    return 2 * np.stack([x, y], axis=1)


SHAPES: dict[str, Callable[[int, np.random.Generator], Points]] = {
    "four_circles": four_circles,
    "star": star,
    "checkerboard": checkerboard,
}


def rotated(points: Points, angle: NDArray[np.float64]) -> Points:
    """Points (N, 2) turned counter-clockwise by angles (N,)."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = points.T
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)


def plane_table(shape: str, n: int, seed: int, *, conditional: bool) -> FeatureTable:
    """Points of a shape, turned by an angle that is their condition if `conditional`; n of them."""
    rng = np.random.default_rng(seed)
    points = SHAPES[shape](n, rng)
    columns = (Column(name="x"), Column(name="y"))
    if not conditional:
        return FeatureTable(features=columns, values=points)
    angle = rng.uniform(0, MAX_ANGLE, n)
    return FeatureTable(
        features=columns,
        values=rotated(points, angle),
        conditions=(Column(name="angle", unit="rad"),),
        condition_values=angle[:, None],
    )


def upright(table: FeatureTable) -> Points:
    """The points, turned back where they have been turned."""
    return rotated(table.values, -table.condition_values[:, 0]) if table.conditions else table.values


def jensen_shannon(first: Points, second: Points, *, bins: int = 50, reach: float = 4.5) -> float:
    """Jensen-Shannon divergence of two samples (N, 2) in histograms over [-reach, reach]^2, 0 to 1.

    Points outside share one more bin. Two samples of the same density do not give 0, see the floor.
    """
    edges = np.linspace(-reach, reach, bins + 1)
    shares = []
    for points in (first, second):
        counts = np.histogram2d(points[:, 0], points[:, 1], bins=[edges, edges])[0].ravel()
        shares.append(np.append(counts, len(points) - counts.sum()) / len(points))
    mean = 0.5 * (shares[0] + shares[1])
    terms = [np.where(p > 0, p * np.log2(np.where(p > 0, p, 1) / np.where(mean > 0, mean, 1)), 0).sum() for p in shares]
    return float(0.5 * sum(terms))
