"""Exact inverse of an autoregressive transformation on the CPU: numba and BLAS, the arithmetic of one pass.

Same contract as `incremental.solve`, without gradients. Samples are taken in tiles of `spline_kernels.TILE`, padded,
and stored transposed: one row a feature or hidden unit. Dimensions are taken in blocks: what the block's rows get
from everything known before it is one matrix product, the small triangle inside of the block is added row by row.
All tiles have the same shape, so that the result of a sample depends neither on its neighbours nor on threads.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from hepflows.blas import gemm_address, multiply, place
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
    weights = packed(made)
    given = y.detach().contiguous().numpy()
    count = given.shape[0]
    known = np.empty((count, 0), given.dtype) if context is None else context.detach().contiguous().numpy()
    v, log_det = np.empty_like(given), np.empty(count, given.dtype)
    arguments = (
        gemm_address(given.dtype),
        given,
        known,
        weights.hidden,
        weights.layers,
        weights.bias,
        weights.stops,
        weights.context,
        weights.output,
        weights.output_bias,
        kernel_constants(spline, given.dtype),
        (0,) * spline.bins,
        weights.block,
        inverse,
        v,
        log_det,
    )
    with _blas_libraries().limit(limits=1, user_api="blas"):
        in_parts(lambda first, last: _solve_tiles(*arguments, first, last), -(-count // TILE))
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
def _finish_units(
    degree: int, start: int, known: Any, units: Any, hidden: Any, layers: Any, bias: Any, stops: Any
) -> None:
    """Add bias and what lies inside of the block to the units of one degree, and apply ReLU.

    Args:
        degree: of the units.
        start: first dimension of the block; -1 if nothing has been added from before.
        known: (D, TILE), flat; rows < degree are known.
        units: (sum of H, TILE), flat.
        hidden: see `packing.Packed`, as the rest.
    """
    zero = known.dtype.type(0)
    for layer in range(layers.shape[0]):
        weight_at, unit_at, _, inputs = layers[layer]
        for row in range(stops[layer, degree - 1] if degree > 0 else 0, stops[layer, degree]):
            at = (unit_at + row) * TILE
            if layer == 0:
                begin = max(start, 0)
                _accumulate(units, at, hidden, weight_at + row * inputs + begin, known, begin, degree - begin)
            else:
                begin = stops[layer - 1, start] if start >= 0 else 0
                end = stops[layer - 1, degree]
                previous = layers[layer - 1, 1]
                _accumulate(
                    units, at, hidden, weight_at + row * inputs + begin, units, previous + begin, end - begin
                )
            shift = bias[unit_at + row]
            out = units[at : at + TILE]
            for t in range(TILE):
                value = out[t] + shift
                out[t] = zero if value < zero else value


@kernel
def _add_from_before(
    address: Any, start: int, stop: int, known: Any, units: Any, hidden: Any, layers: Any, stops: Any
) -> None:
    """Pre-activations of the units of degrees start + 1 ... stop from all that is known before the block."""
    real = known.dtype.type
    for layer in range(layers.shape[0]):
        weight_at, unit_at, _, inputs = layers[layer]
        first, last = stops[layer, start], stops[layer, stop]
        if last == first:
            continue
        target = place(units, (unit_at + first) * TILE)
        weights = place(hidden, weight_at + first * inputs)
        inner = start if layer == 0 else stops[layer - 1, start]
        source = place(known, 0) if layer == 0 else place(units, layers[layer - 1, 1] * TILE)
        if inner > 0:
            # The rows of the first layer hold the context's share already.
            beta = real(1) if layer == 0 else real(0)
            multiply(address, beta, last - first, TILE, inner, weights, inputs, source, TILE, target, TILE)
        elif layer > 0:
            units[(unit_at + first) * TILE : (unit_at + last) * TILE] = 0


@kernel
def _raw_parameters(
    d: int,
    start: int,
    bins: Any,
    raw: Any,
    units: Any,
    first_unit: int,
    output: Any,
    output_bias: Any,
    stops: Any,
    shares: Any,
    slopes: Any,
) -> None:
    """Raw parameters of dimension d: the block's product, the bias and the units from inside of the block."""
    rows, width = 3 * len(bins) - 1, output.shape[1]
    begin, end = stops[-1, start], stops[-1, d]
    flat = output.reshape(-1)
    for k in range(rows):
        row = d * rows + k
        source = raw[((d - start) * rows + k) * TILE : ((d - start) * rows + k + 1) * TILE]
        target, at = (shares, k * TILE) if k < 2 * len(bins) else (slopes, (k - 2 * len(bins)) * TILE)
        shift = output_bias[row]
        out = target[at : at + TILE]
        for t in range(TILE):
            out[t] = source[t] + shift
        _accumulate(target, at, flat, row * width + begin, units, first_unit + begin, end - begin)


@kernel
def _solve_tiles(
    address: Any,
    y: Any,
    context: Any,
    hidden: Any,
    layers: Any,
    bias: Any,
    stops: Any,
    context_weight: Any,
    output: Any,
    output_bias: Any,
    c: Any,
    bins: Any,
    block: int,
    inverse: bool,
    v: Any,
    log_det: Any,
    first: int,
    last: int,
) -> None:
    """Tiles first ... last - 1; `v` and `log_det` are written, the rest as in `solve` and `packing.Packed`."""
    samples, features = y.shape
    rows, width, contexts = 3 * len(bins) - 1, output.shape[1], context.shape[1]
    real = y.dtype.type
    first_units, last_at = layers[0, 2], layers[-1, 1]
    known = np.empty(features * TILE, y.dtype)
    units = np.empty(bias.size * TILE, y.dtype)
    raw = np.empty(block * rows * TILE, y.dtype)
    given = np.empty(max(block, contexts) * TILE, y.dtype)
    shares = np.empty(2 * len(bins) * TILE, y.dtype)
    slopes = np.empty(len(bins) * TILE, y.dtype)
    state = np.zeros(N_ROWS * TILE, y.dtype)
    total = np.empty(TILE, np.float64)
    for tile in range(first, last):
        begin = tile * TILE
        count = min(TILE, samples - begin)
        total[:] = 0
        units[:] = 0
        if contexts > 0:
            _transpose(context, begin, count, 0, contexts, given)
            multiply(
                address,
                real(0),
                first_units,
                TILE,
                contexts,
                place(context_weight, 0),
                contexts,
                place(given, 0),
                TILE,
                place(units, 0),
                TILE,
            )
        _finish_units(0, -1, known, units, hidden, layers, bias, stops)
        for start in range(0, features, block):
            stop = min(start + block, features)
            _transpose(y, begin, count, start, stop, given)
            _add_from_before(address, start, stop, known, units, hidden, layers, stops)
            inner = stops[-1, start]
            if inner > 0:
                multiply(
                    address,
                    real(0),
                    (stop - start) * rows,
                    TILE,
                    inner,
                    place(output, start * rows * width),
                    width,
                    place(units, last_at * TILE),
                    TILE,
                    place(raw, 0),
                    TILE,
                )
            else:
                raw[:] = 0
            for d in range(start, stop):
                _raw_parameters(
                    d, start, bins, raw, units, last_at, output, output_bias, stops, shares, slopes
                )
                argument = given[(d - start) * TILE : (d - start + 1) * TILE]
                for t in range(TILE):
                    state[X + t] = argument[t]
                locate(shares, bins, state, c, inverse)
                pick_slopes(slopes, bins, state)
                evaluate(state, c, inverse)
                result = known[d * TILE : (d + 1) * TILE]
                for t in range(TILE):
                    result[t] = state[Y + t]
                for t in range(TILE):
                    total[t] += state[LOG + t]
                _finish_units(d + 1, start, known, units, hidden, layers, bias, stops)
        for t in range(count):
            log_det[begin + t] = total[t]
        _transpose_back(known, begin, count, v)


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
def _transpose_back(known: Any, begin: int, count: int, v: Any) -> None:
    """Samples of a tile to `count` rows of v, in squares that fit the cache."""
    features = v.shape[1]
    for corner in range(0, features, 16):
        for t in range(count):
            for d in range(corner, min(corner + 16, features)):
                v[begin + t, d] = known[d * TILE + t]
