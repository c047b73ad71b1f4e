"""Autoregressive spline transformations on the CPU: numba and BLAS, each hidden unit and output row computed once.

`solve` is `incremental.solve` without gradients; `transform` is the direction in which all inputs are known. Samples
are taken in tiles of `spline_kernels.TILE`, padded, and stored transposed: one row a feature or hidden unit.
Dimensions are taken in blocks: what a block's rows get from everything known before it is one matrix product, the
small triangle inside of the block is added row by row. All tiles have the same shape, so that the result of a sample
depends neither on its neighbours nor on threads.

Memory beside the arguments and results: about 0.5 kB (float32) a feature, hidden unit and thread.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from hepflows.blas import gemm_address, multiply
from hepflows.fused_spline import kernel_constants
from hepflows.kernel import kernel
from hepflows.packing import packed
from hepflows.spline_kernels import LOG, N_ROWS, TILE, X, Y, evaluate, locate, pick_slopes
from hepflows.threads import in_parts

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.made import MADE
    from hepflows.splines import SplineSettings


def solve(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Find v with v_d = spline(y_d; made(v_<d)); see `incremental.solve`.

    Args:
        made: network on the CPU.
        y: shape (N, D), float32 or float64 as the network.
        context: shape (N, C) or None.
        spline: shape of the splines.
        inverse: apply the inverse spline or the forward one.

    Returns:
        v of shape (N, D) and the summed log |dv/dy| of shape (N,), without gradients.
    """
    return _run(made, y, context, spline, inverse, solving=True)


def transform(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """v_d = spline(y_d; made(y_<d)): density of a MAF, sampling of an IAF; arguments and results as in `solve`."""
    return _run(made, y, context, spline, inverse, solving=False)


def _run(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, inverse: bool, *, solving: bool
) -> tuple[Tensor, Tensor]:
    weights = packed(made)
    given = y.detach().contiguous().numpy()
    count = given.shape[0]
    known = np.empty((count, 0), given.dtype) if context is None else context.detach().contiguous().numpy()
    v, log_det = np.empty_like(given), np.empty(count, given.dtype)
    constants, bins = kernel_constants(spline, given.dtype), (0,) * spline.bins
    address = gemm_address(given.dtype)

    def work(first: int, last: int) -> None:
        _tiles(address, given, known, weights, constants, bins, inverse, solving, v, log_det, first, last)

    with _blas_libraries().limit(limits=1, user_api="blas"):
        in_parts(work, -(-count // TILE))
    return torch.from_numpy(v), torch.from_numpy(log_det)


@cache
def _blas_libraries() -> ThreadpoolController:
    """The BLAS libraries of this process; tiles are the parallel units, products inside of them are not."""
    return ThreadpoolController()


@kernel
def _accumulate(target: Any, at: int, weights: Any, first: int, source: Any, row: int, count: int) -> None:
    """Add weights[first + j] * (row `row` + j of source) to TILE elements of target, j = 0 ... count - 1."""
    out = target[at : at + TILE]
    j = 0
    while j + 4 <= count:
        w0, w1, w2, w3 = weights[first + j], weights[first + j + 1], weights[first + j + 2], weights[first + j + 3]
        four = source[(row + j) * TILE : (row + j + 4) * TILE]
        for t in range(TILE):
            out[t] += (w0 * four[t] + w1 * four[TILE + t]) + (w2 * four[2 * TILE + t] + w3 * four[3 * TILE + t])
        j += 4
    while j < count:
        w0 = weights[first + j]
        one = source[(row + j) * TILE : (row + j + 1) * TILE]
        for t in range(TILE):
            out[t] += w0 * one[t]
        j += 1


@kernel
def _finish_units(degree: int, start: int, known: Any, units: Any, weights: Any) -> None:
    """Add bias and what lies inside of the block to the units of one degree, and apply ReLU.

    Args:
        degree: of the units.
        start: first dimension of the block; -1 if nothing has been added from before.
        known: (D, TILE), flat; rows < degree are known.
        units: (sum of H, TILE), flat.
        weights: packed network.
    """
    zero = known.dtype.type(0)
    layers, stops = weights.layers, weights.stops
    for layer in range(layers.shape[0]):
        weight_at, unit_at, _, inputs = layers[layer]
        for row in range(stops[layer, degree - 1] if degree > 0 else 0, stops[layer, degree]):
            at, row_at = (unit_at + row) * TILE, weight_at + row * inputs
            if layer == 0:
                begin = max(start, 0)
                _accumulate(units, at, weights.hidden, row_at + begin, known, begin, degree - begin)
            else:
                begin = stops[layer - 1, start] if start >= 0 else 0
                end = stops[layer - 1, degree]
                previous = layers[layer - 1, 1]
                _accumulate(units, at, weights.hidden, row_at + begin, units, previous + begin, end - begin)
            shift = weights.bias[unit_at + row]
            out = units[at : at + TILE]
            for t in range(TILE):
                value = out[t] + shift
                out[t] = zero if value < zero else value  # noqa: FURB136 - NaN stays NaN


@kernel
def _add_from_before(address: Any, start: int, stop: int, known: Any, units: Any, weights: Any) -> None:
    """Pre-activations of the units of degrees start + 1 ... stop from all that is known before the block."""
    real = known.dtype.type
    layers, stops = weights.layers, weights.stops
    for layer in range(layers.shape[0]):
        weight_at, unit_at, _, inputs = layers[layer]
        first, last = stops[layer, start], stops[layer, stop]
        if last == first:
            continue
        inner = start if layer == 0 else stops[layer - 1, start]
        if inner > 0:
            # The rows of the first layer hold the context's share already.
            beta = real(1) if layer == 0 else real(0)
            source, source_at = (known, 0) if layer == 0 else (units, layers[layer - 1, 1] * TILE)
            at, target = weight_at + first * inputs, (unit_at + first) * TILE
            multiply(
                address, beta, weights.hidden, at, inputs, last - first, inner, source, source_at, units, target, TILE
            )
        elif layer > 0:
            units[(unit_at + first) * TILE : (unit_at + last) * TILE] = 0


@kernel
def _raw_parameters(
    d: int, start: int, panel: int, raw: Any, units: Any, weights: Any, bins: Any, shares: Any, slopes: Any
) -> None:
    """Raw parameters of dimension d: the block's product, the bias and the units from inside of the block."""
    rows = 3 * len(bins) - 1
    begin, end = weights.stops[-1, start], weights.stops[-1, d]
    panel_at, width = weights.panels[panel]
    first_unit = weights.layers[-1, 1]
    for k in range(rows):
        row = (d - start) * rows + k
        source = raw[row * TILE : (row + 1) * TILE]
        target, at = (shares, k * TILE) if k < 2 * len(bins) else (slopes, (k - 2 * len(bins)) * TILE)
        shift = weights.output_bias[d * rows + k]
        out = target[at : at + TILE]
        for t in range(TILE):
            out[t] = source[t] + shift
        row_at = panel_at + row * width + begin
        _accumulate(target, at, weights.output, row_at, units, first_unit + begin, end - begin)


@kernel
def _tiles(
    address: Any,
    y: Any,
    context: Any,
    weights: Any,
    c: Any,
    bins: Any,
    inverse: bool,
    solving: bool,
    v: Any,
    log_det: Any,
    first: int,
    last: int,
) -> None:
    """Tiles first ... last - 1.

    Args:
        address: of BLAS' gemm.
        y: shape (N, D).
        context: shape (N, C).
        weights: packed network.
        c: constants, see `fused_spline.kernel_constants`.
        bins: tuple of K zeros.
        inverse: evaluate inverse splines.
        solving: the network sees the results v, otherwise y.
        v: shape (N, D), written.
        log_det: shape (N,), written.
        first: first tile.
        last: one past the last tile.
    """
    features, contexts, block = y.shape[1], context.shape[1], weights.block
    rows, last_units = 3 * len(bins) - 1, weights.layers[-1, 1] * TILE
    zero = y.dtype.type(0)
    results = np.empty(features * TILE, y.dtype)
    known = results if solving else np.empty(features * TILE, y.dtype)
    units = np.empty(weights.bias.size * TILE, y.dtype)
    raw = np.empty(block * rows * TILE, y.dtype)
    given = np.empty(max(block, contexts) * TILE, y.dtype)
    shares = np.empty(2 * len(bins) * TILE, y.dtype)
    slopes = np.empty(len(bins) * TILE, y.dtype)
    state = np.zeros(N_ROWS * TILE, y.dtype)
    total = np.empty(TILE, np.float64)
    for tile in range(first, last):
        begin = tile * TILE
        count = min(TILE, y.shape[0] - begin)
        total[:] = 0
        units[:] = 0
        if contexts > 0:
            _transpose(context, begin, count, 0, contexts, given)
            width = weights.layers[0, 2]
            multiply(address, zero, weights.context, 0, contexts, width, contexts, given, 0, units, 0, TILE)
        _finish_units(0, -1, known, units, weights)
        for start in range(0, features, block):
            stop, panel = min(start + block, features), start // block
            _transpose(y, begin, count, start, stop, given)
            _add_from_before(address, start, stop, known, units, weights)
            panel_at, width = weights.panels[panel]
            inner = weights.stops[-1, start]
            if inner > 0:
                size = (stop - start) * rows
                multiply(address, zero, weights.output, panel_at, width, size, inner, units, last_units, raw, 0, TILE)
            else:
                raw[:] = 0
            for d in range(start, stop):
                _raw_parameters(d, start, panel, raw, units, weights, bins, shares, slopes)
                argument = given[(d - start) * TILE : (d - start + 1) * TILE]
                for t in range(TILE):
                    state[X + t] = argument[t]
                locate(shares, bins, state, c, inverse)
                pick_slopes(slopes, bins, state)
                evaluate(state, c, inverse)
                result, seen = results[d * TILE : (d + 1) * TILE], known[d * TILE : (d + 1) * TILE]
                for t in range(TILE):
                    result[t] = state[Y + t]
                    total[t] += state[LOG + t]
                if not solving:
                    seen[:] = argument
                _finish_units(d + 1, start, known, units, weights)
        for t in range(count):
            log_det[begin + t] = total[t]
        _transpose_back(results, begin, count, v)


@kernel
def _transpose(table: Any, begin: int, count: int, first: int, last: int, out: Any) -> None:
    """Columns first ... last - 1 of `count` rows, one output row a column; missing samples become zeros."""
    for column in range(first, last):
        at = (column - first) * TILE
        for t in range(count):
            out[at + t] = table[begin + t, column]
        for t in range(count, TILE):
            out[at + t] = 0


@kernel
def _transpose_back(results: Any, begin: int, count: int, v: Any) -> None:
    """Samples of a tile to `count` rows of v, in squares that fit the cache."""
    features = v.shape[1]
    for corner in range(0, features, 16):
        for t in range(count):
            for d in range(corner, min(corner + 16, features)):
                v[begin + t, d] = results[d * TILE + t]
