"""Observables that take equidistant values only, such as a multiplicity or a share of lit cells.

A flow needs densities. So a value is spread evenly over its step before it enters (dequantisation), and rounded to the
grid when it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_REPEATS: Final = 4  # times that a value of a discrete observable occurs at least, on average
_TOLERANCE: Final = 1e-3  # of the step; sums of float32 numbers are this far off the grid


@dataclass(frozen=True)
class Grid:
    """Values origin + k * step with integer k; step 0 for continuous observables."""

    origin: float = 0.0
    step: float = 0.0


def find_grid(values: NDArray[np.float64]) -> Grid:
    """The grid that all values (N,) lie on, if they repeat often enough to be discrete.

    Example:
        >>> find_grid(np.array([3.0, 4.0, 6.0] * 20))
        Grid(origin=3.0, step=1.0)
        >>> find_grid(np.linspace(0, 1, 60))
        Grid(origin=0.0, step=0.0)
    """
    different = np.unique(values)
    if not 1 < len(different) <= len(values) / _REPEATS:
        return Grid()
    gaps = np.diff(different)
    # equal values that rounding has split are no steps
    gaps = gaps[gaps > _TOLERANCE * gaps.max() / len(different)]
    step = float(gaps.min())
    index = (different - different[0]) / step
    if np.abs(index - np.round(index)).max() > _TOLERANCE * max(1.0, float(index.max()) ** 0.5):
        return Grid()
    # over the whole range the rounding of a single gap does not add up
    return Grid(float(different[0]), float((different[-1] - different[0]) / np.round(index[-1])))


def spread(values: NDArray[np.float64], grids: Sequence[Grid], uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (N, D) with (u - 1/2) steps added, u of (N, D) in (0, 1)."""
    steps = np.array([grid.step for grid in grids])
    return np.asarray(values + (uniform - 0.5) * steps)


def rounded(values: NDArray[np.float64], grids: Sequence[Grid]) -> NDArray[np.float64]:
    """Values (N, D) at the nearest points of their grids; continuous columns as they are."""
    result = values.copy()
    for column, grid in enumerate(grids):
        if grid.step:
            index = np.round((values[:, column] - grid.origin) / grid.step)
            result[:, column] = grid.origin + grid.step * index
    return result
