"""Autoregressive spline transformations on the CPU in numba, each hidden unit and output row computed once.

`solve` is `incremental.solve` without gradients; `transform` is the direction in which all inputs are known. Samples
are taken in `tiles`, stored transposed. Dimensions are taken in blocks: what a block's rows get from everything known
before it is one matrix product, the small triangle inside of the block is added degree by degree.

Every number is a sum in one fixed order, see `products`: the result of a sample depends neither on its neighbours nor
on the width of its tile nor on threads.

Memory beside the arguments and results: about 0.5 kB (float32) a feature, hidden unit and thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows.fused_spline import kernel_constants
from hepflows.kernel import kernel
from hepflows.packing import packed
from hepflows.products import add_product
from hepflows.spline_kernels import N_ROWS, TILE, Y
from hepflows.threads import in_parts
from hepflows.tiles import fill_rows, rectify, spline_row, tiles_of, transpose, transpose_back

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
    known = np.empty((len(given), 0), given.dtype) if context is None else context.detach().contiguous().numpy()
    v, log_det = np.empty_like(given), np.empty(len(given), given.dtype)
    constants, bins = kernel_constants(spline, given.dtype), (0,) * spline.bins
    tiles = tiles_of(len(given))

    def work(first: int, last: int) -> None:
        _transform_tiles(given, known, weights, constants, bins, inverse, solving, v, log_det, tiles[first:last])

    in_parts(work, len(tiles))
    return torch.from_numpy(v), torch.from_numpy(log_det)


@kernel
def _finish_units(degree: int, start: int, known: Any, units: Any, weights: Any, width: int) -> None:
    """Add what lies inside of the block to the units of one degree, and apply ReLU.

    Args:
        degree: of the units.
        start: first dimension of the block; -1 if nothing has been added from before.
        known: (D, width), flat; rows < degree are known.
        units: (sum of H, width), flat.
        weights: packed network.
        width: of the tile.
    """
    layers, stops = weights.layers, weights.stops
    for layer in range(layers.shape[0]):
        weight_at, unit_at, _, inputs = layers[layer]
        first = stops[layer, degree - 1] if degree > 0 else 0
        last = stops[layer, degree]
        at, target = weight_at + first * inputs, (unit_at + first) * width
        if layer == 0:
            begin = max(start, 0)
            source = begin * width
            add_product(
                weights.hidden, at + begin, inputs, last - first, degree - begin, known, source, units, target, width
            )
        else:
            begin = stops[layer - 1, start] if start >= 0 else 0
            inner = stops[layer - 1, degree] - begin
            source = (layers[layer - 1, 1] + begin) * width
            add_product(weights.hidden, at + begin, inputs, last - first, inner, units, source, units, target, width)
        rectify(units[target : (unit_at + last) * width])


@kernel
def _add_from_before(start: int, stop: int, known: Any, units: Any, weights: Any, width: int) -> None:
    """To the units of degrees start + 1 ... stop, all that is known before the block."""
    layers, stops = weights.layers, weights.stops
    for layer in range(layers.shape[0]):
        weight_at, unit_at, _, inputs = layers[layer]
        first, last = stops[layer, start], stops[layer, stop]
        at, target = weight_at + first * inputs, (unit_at + first) * width
        if layer == 0:
            add_product(weights.hidden, at, inputs, last - first, start, known, 0, units, target, width)
        else:
            inner, source = stops[layer - 1, start], layers[layer - 1, 1] * width
            add_product(weights.hidden, at, inputs, last - first, inner, units, source, units, target, width)


@kernel
def _raw_parameters(d: int, start: int, panel: int, raw: Any, units: Any, weights: Any, rows: int, width: int) -> Any:
    """Raw parameters of dimension d, with the units from inside of the block added; shape (rows, width), flat."""
    begin, end = weights.stops[-1, start], weights.stops[-1, d]
    panel_at, length = weights.panels[panel]
    at = panel_at + (d - start) * rows * length + begin
    source, target = (weights.layers[-1, 1] + begin) * width, (d - start) * rows * width
    add_product(weights.output, at, length, rows, end - begin, units, source, raw, target, width)
    return raw[target : target + rows * width]


@kernel
def _transform_tiles(
    y: Any,
    context: Any,
    weights: Any,
    c: Any,
    bins: Any,
    inverse: bool,
    solving: bool,
    v: Any,
    log_det: Any,
    tiles: Any,
) -> None:
    """Transform some tiles.

    Args:
        y: shape (N, D).
        context: shape (N, C).
        weights: packed network.
        c: constants, see `fused_spline.kernel_constants`.
        bins: tuple of K zeros.
        inverse: evaluate inverse splines.
        solving: the network sees the results v, otherwise y.
        v: shape (N, D), written.
        log_det: shape (N,), written.
        tiles: shape (T, 2), first sample and width of each tile.
    """
    features, contexts, block, rows = y.shape[1], context.shape[1], weights.block, 3 * len(bins) - 1
    results = np.empty(features * TILE, y.dtype)
    known = results if solving else np.empty(features * TILE, y.dtype)
    units = np.empty(weights.bias.size * TILE, y.dtype)
    raw = np.empty(block * rows * TILE, y.dtype)
    given = np.empty(max(block, contexts) * TILE, y.dtype)
    shares = np.empty(2 * len(bins) * TILE, y.dtype)
    state = np.zeros(N_ROWS * TILE, y.dtype)
    total = np.empty(TILE, np.float64)
    for tile in range(tiles.shape[0]):
        begin, width = tiles[tile]
        count = min(width, y.shape[0] - begin)
        total[:] = 0
        fill_rows(units, weights.bias, width)
        if contexts > 0:
            transpose(context, begin, count, 0, contexts, given, width)
            add_product(weights.context, 0, contexts, weights.layers[0, 2], contexts, given, 0, units, 0, width)
        _finish_units(0, -1, known, units, weights, width)
        for start in range(0, features, block):
            stop, panel = min(start + block, features), start // block
            transpose(y, begin, count, start, stop, given, width)
            _add_from_before(start, stop, known, units, weights, width)
            panel_at, length = weights.panels[panel]
            fill_rows(raw, weights.output_bias[start * rows : stop * rows], width)
            inner, source, size = weights.stops[-1, start], weights.layers[-1, 1] * width, (stop - start) * rows
            add_product(weights.output, panel_at, length, size, inner, units, source, raw, 0, width)
            for d in range(start, stop):
                parameters = _raw_parameters(d, start, panel, raw, units, weights, rows, width)
                argument = given[(d - start) * width : (d - start + 1) * width]
                spline_row(parameters, argument, c, bins, inverse, shares, state, total, width)
                results[d * width : (d + 1) * width] = state[Y : Y + width]
                if not solving:
                    known[d * width : (d + 1) * width] = argument
                _finish_units(d + 1, start, known, units, weights, width)
        for t in range(count):
            log_det[begin + t] = total[t]
        transpose_back(results[: features * width], begin, count, 0, v, width)
