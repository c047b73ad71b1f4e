"""Tiles of samples, the unit of work of the CPU kernels: few rows of memory, one a feature or hidden unit.

Samples are taken in tiles of `TILE`, few samples in tiles of `NARROW`, padded. The result of a sample must not depend
on the width of its tile: sums in tiles are those of `products`, splines those of `spline_kernels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.kernel import kernel
from hepflows.spline_kernels import LOG, TILE, X, evaluate, locate, pick_slopes
from hepflows.threads import parts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

NARROW = 16
"""Samples of a narrow tile: one vector in float32."""

_COST = 4
"""Time of a wide tile in times of a narrow one, about: the weights pass through the cache for each of them."""


def tiles_of(count: int) -> NDArray[np.int64]:
    """Starts and widths, shape (T, 2), of tiles that cover `count` samples: wide ones, and narrow ones for few."""
    wide, rest = divmod(count, TILE)
    if rest > (_COST - 1) * NARROW:
        wide, rest = wide + 1, 0
    every = -(-count // NARROW)
    if -(-every // parts_of(every)) < _COST * -(-wide // parts_of(wide)):
        wide, rest = 0, count  # too few wide tiles for the threads
    tiles = [(i * TILE, TILE) for i in range(wide)]
    tiles += [(wide * TILE + i * NARROW, NARROW) for i in range(-(-rest // NARROW))]
    return np.array(tiles, dtype=np.int64).reshape(-1, 2)


@kernel
def transpose(table: Any, begin: int, count: int, first: int, last: int, out: Any, width: int) -> None:
    """Columns first ... last - 1 of `count` rows, one output row a column; missing samples become zeros."""
    for column in range(first, last):
        at = (column - first) * width
        for t in range(count):
            out[at + t] = table[begin + t, column]
        for t in range(count, width):
            out[at + t] = 0


@kernel
def transpose_back(results: Any, begin: int, count: int, first: int, v: Any, width: int) -> None:
    """Rows of a tile to columns `first` and following of `count` rows of v, in squares that fit the cache."""
    features = results.size // width
    for corner in range(0, features, 16):
        for t in range(count):
            for d in range(corner, min(corner + 16, features)):
                v[begin + t, first + d] = results[d * width + t]


@kernel
def fill_rows(out: Any, values: Any, width: int) -> None:
    """Row i of `out` becomes values[i]."""
    for row in range(values.size):
        out[row * width : (row + 1) * width] = values[row]


@kernel
def rectify(rows: Any) -> None:
    """ReLU in place; NaN stays NaN."""
    zero = rows.dtype.type(0)
    for t in range(rows.size):
        rows[t] = zero if rows[t] < zero else rows[t]  # noqa: FURB136 - max() would lose NaN


@kernel
def spline_row(
    raw: Any, argument: Any, c: Any, bins: Any, inverse: bool, shares: Any, state: Any, total: Any, width: int
) -> None:
    """Spline of one feature of a tile; its value is left in row Y of `state`.

    Args:
        raw: raw parameters, shape (3 K - 1, width), flat.
        argument: shape (width,).
        c: constants, see `fused_spline.kernel_constants`.
        bins: tuple of K zeros.
        inverse: evaluate the inverse spline.
        shares: workspace of 2 K rows of TILE.
        state: workspace of N_ROWS rows of TILE, see `spline_kernels`.
        total: shape (TILE,), the log-derivative is added to it.
        width: of the tile.
    """
    if width == TILE:  # a constant width makes the faster loops
        _spline_row(raw, argument, c, bins, inverse, shares, state, total, TILE)
    else:
        _spline_row(raw, argument, c, bins, inverse, shares, state, total, width)


@kernel
def _spline_row(
    raw: Any, argument: Any, c: Any, bins: Any, inverse: bool, shares: Any, state: Any, total: Any, width: int
) -> None:
    for k in range(2 * len(bins)):
        for t in range(width):
            shares[k * TILE + t] = raw[k * width + t]
    for t in range(width):
        state[X + t] = argument[t]
    locate(shares, bins, state, c, inverse, width)
    # the exponentials are no longer needed: their rows may take the slopes
    for k in range(len(bins) - 1):
        for t in range(width):
            shares[k * TILE + t] = raw[(2 * len(bins) + k) * width + t]
    pick_slopes(shares, bins, state, width)
    evaluate(state, c, inverse, width)
    for t in range(width):
        total[t] += state[LOG + t]
