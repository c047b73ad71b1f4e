"""Numba kernels of a conditioner's last layer and the splines that it parametrises, see `fused_conditioner`.

Events are taken in tiles of `TILE`, features in panels. A panel's part of a tile, raw parameters or their gradients,
stays in the second-level cache, and so do the panel's weights. Raw parameters are stored one row a parameter, events
next to each other, so that a feature's rows are the tile that `spline_kernels` want. Other forms of arrays are those of
`operand_kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hepflows.kernel import inline, kernel
from hepflows.layer_kernels import add_lanes, store_lanes
from hepflows.neighbour_kernels import add_input_gradients, add_neighbours, add_weight_gradients
from hepflows.operand_kernels import masked_panel, store_panel
from hepflows.spline_gradients import differentiate, gradient_of_shares, gradient_of_slopes
from hepflows.spline_kernels import (
    BELOW_H,
    BELOW_W,
    BIN,
    FREE_H,
    FREE_W,
    GRAD_BOTTOM,
    GRAD_HEIGHT,
    GRAD_LEFT,
    GRAD_LOG,
    GRAD_WIDTH,
    GRAD_X,
    GRAD_Y,
    LOG,
    N_ROWS,
    RAW_1,
    SCALE_H,
    SCALE_W,
    SHARE_H,
    SHARE_W,
    TILE,
    X,
    Y,
    evaluate,
    locate,
    pick_slopes,
)
from hepflows.strip_operands import by_column, by_row, pack_rows
from hepflows.strip_products import STRIP_BYTES, add_strip

KEPT_STATE = RAW_1 + TILE - BIN
"""Length of the part of `state` that the backward kernel wants back: rows BIN ... RAW_1."""


@inline
def _copy(source: Any, at: int, count: int, out: Any, out_at: int) -> None:
    given, written = source[at : at + count], out[out_at : out_at + count]
    for i in range(count):
        written[i] = given[i]


@inline
def _most_rows(panels: Any) -> int:
    most = 0
    for i in range(panels.shape[0]):
        most = max(most, panels[i, 1] - panels[i, 0])
    return most


@kernel
def output_forward(
    weight: Any,
    bias: Any,
    mask: Any,
    panels: Any,
    per: int,
    units: Any,
    near: Any,
    near_weight: Any,
    inputs: Any,
    x: Any,
    c: Any,
    bins: Any,
    inverse: bool,
    y: Any,
    logs: Any,
    kept: Any,
) -> None:
    """Splines of the features of some panels.

    Args:
        weight: shape (D P, H), P = 3 K - 1.
        bias: shape (D P,).
        mask: shape (D P, H) of 0 and 1, or of size 0 if every panel is full.
        panels: shape (number, 4); a panel's rows are those of whole features.
        per: numbers in an operand.
        units: shape (strips, operands of H, strip).
        near: optional, shape (D, J): places of each feature's neighbours among the inputs.
        near_weight: shape (D, P, J): what the neighbours add to the raw parameters.
        inputs: shape (I, N).
        x: shape (D, N), N a multiple of TILE.
        c: constants, see `fused_spline.kernel_constants`.
        bins: tuple of K zeros.
        inverse: evaluate inverse splines.
        y: shape (D, N), written.
        logs: shape (number, N), float64, written: sums of log |dy/dx| of a panel's features.
        kept: shape (D, tiles, 2 K TILE + KEPT_STATE), written: what `output_backward` needs.
    """
    parameters, tiles, shares = 3 * len(bins) - 1, x.shape[1] // TILE, 2 * len(bins) * TILE
    strips, length, strip = units.shape
    most, source = _most_rows(panels), units.reshape(-1)
    plain, packed = np.empty(most * weight.shape[1], weight.dtype), np.empty(most * length, units.dtype)
    raw, state = np.empty(most * TILE, weight.dtype), np.zeros(N_ROWS * TILE, weight.dtype)
    beside = np.empty(near.shape[1] * TILE, weight.dtype)
    for i in range(panels.shape[0]):
        start, stop, _, reach = panels[i]
        rows, inner = stop - start, (reach + per - 1) // per
        masked_panel(weight, mask, panels[i], reach, plain)
        weights = by_column(plain, rows, reach, packed)
        for tile in range(tiles):
            for row in range(rows):
                raw[row * TILE : (row + 1) * TILE] = bias[start + row]
            if near.size:
                add_neighbours(near, near_weight, inputs, start, rows, tile, beside, raw)
            begin = tile * (TILE // strip)
            for s in range(begin, min(begin + TILE // strip, strips)):
                at = s * length * strip
                add_strip(weights, 0, inner, 1, rows, inner, source, at, raw, (s - begin) * strip, TILE)
            log = logs[i, tile * TILE : (tile + 1) * TILE]
            log[:] = 0
            for row in range(0, rows, parameters):
                d = (start + row) // parameters
                feature = raw[row * TILE : (row + parameters) * TILE]
                _copy(x[d], tile * TILE, TILE, state, X)
                locate(feature, bins, state, c, inverse, TILE)
                pick_slopes(feature[shares:], bins, state, TILE)
                evaluate(state, c, inverse, TILE)
                _copy(feature, 0, shares, kept[d, tile], 0)
                _copy(state, BIN, KEPT_STATE, kept[d, tile], shares)
                _copy(state, Y, TILE, y[d], tile * TILE)
                for t in range(TILE):
                    log[t] += state[LOG + t]


@kernel
def _raw_gradients(
    d: int,
    tile: int,
    x: Any,
    grad_y: Any,
    grad_log: Any,
    kept: Any,
    c: Any,
    bins: Any,
    inverse: bool,
    state: Any,
    out: Any,
) -> None:
    """Gradients of one feature's raw parameters, shape (P, TILE), flat; that of x stays in row GRAD_X of `state`."""
    half = len(bins) * TILE
    memory, shares = kept[d, tile], 2 * half
    _copy(x[d], tile * TILE, TILE, state, X)
    _copy(memory, shares, KEPT_STATE, state, BIN)
    _copy(grad_y[d], tile * TILE, TILE, state, GRAD_Y)
    _copy(grad_log, tile * TILE, TILE, state, GRAD_LOG)
    differentiate(state, c, inverse)
    edges = (GRAD_LEFT, GRAD_WIDTH, SHARE_W, BELOW_W, SCALE_W)
    gradient_of_shares(memory[:half], bins, state, edges, c[FREE_W], out[:half])
    edges = (GRAD_BOTTOM, GRAD_HEIGHT, SHARE_H, BELOW_H, SCALE_H)
    gradient_of_shares(memory[half:shares], bins, state, edges, c[FREE_H], out[half:shares])
    gradient_of_slopes(out[shares:], bins, state)


@kernel
def output_backward(  # noqa: C901, PLR0912 - one loop nest: calls inside of it would cost what it saves
    weight: Any,
    mask: Any,
    panels: Any,
    units: Any,
    strips: int,
    near: Any,
    near_across: Any,
    inputs: Any,
    x: Any,
    grad_y: Any,
    grad_log: Any,
    kept: Any,
    c: Any,
    bins: Any,
    inverse: bool,
    grad_x: Any,
    grad_units: Any,
    grad_weight: Any,
    grad_bias: Any,
    grad_near: Any,
    grad_inputs: Any,
) -> None:
    """Gradients that come from the features of some panels.

    Args:
        weight: as in `output_forward`.
        mask: as in `output_forward`.
        panels: as in `output_forward`.
        units: shape (tiles, strips of units, operands of TILE events, strip).
        strips: number of strips of events.
        near: as in `output_forward`.
        near_across: their weights, shape (D, J, P).
        inputs: as in `output_forward`.
        x: as in `output_forward`.
        grad_y: shape (D, N).
        grad_log: shape (N,), gradient of the sum of log |dy/dx| over features.
        kept: from `output_forward`.
        c: as in `output_forward`.
        bins: as in `output_forward`.
        inverse: as in `output_forward`.
        grad_x: shape (D, N), written.
        grad_units: optional, shape (strips, H, strip), written: these panels' share.
        grad_weight: optional, shape (D P, H), written.
        grad_bias: optional, shape (D P,), written.
        grad_near: optional, shape (D P, J), written: that of the neighbours' weights.
        grad_inputs: optional, shape (I, N), written: these panels' share by way of the neighbours.
    """
    parameters, tiles, width = 3 * len(bins) - 1, x.shape[1] // TILE, weight.shape[1]
    strip, real = STRIP_BYTES // x.itemsize, x.dtype
    _, groups, inner_events, _ = units.shape
    per = TILE // inner_events
    most, source, sums = _most_rows(panels), units.reshape(-1), grad_units.reshape(-1)
    plain, packed = np.empty(most * width, real), np.empty((most // per + 1) * width, units.dtype)
    raw, state, lanes = np.empty(most * TILE, real), np.zeros(N_ROWS * TILE, real), np.empty(most * strip, real)
    row_operands = np.empty(most * inner_events, units.dtype)
    strip_operands = np.empty((most // per + 1) * strip, units.dtype)
    found = np.empty(most * groups * strip, real)
    columns = (near.shape[1] + strip - 1) // strip * strip
    beside, sums_near = np.zeros(columns * TILE, real), np.empty(most * columns, real)
    grad_units[:] = 0
    grad_inputs[:] = 0
    for i in range(panels.shape[0]):
        start, stop, _, reach = panels[i]
        rows = stop - start
        inner, length = (rows + per - 1) // per, (reach + strip - 1) // strip * strip
        if grad_units.size:
            masked_panel(weight, mask, panels[i], reach, plain)
        weights = by_row(plain, rows, reach, packed)
        found[: rows * length], lanes[: rows * strip], sums_near[: rows * columns] = 0, 0, 0
        for tile in range(tiles):
            begin = tile * (TILE // strip)
            present = min(TILE // strip, strips - begin)
            for row in range(0, rows, parameters):
                d = (start + row) // parameters
                feature = raw[row * TILE : (row + parameters) * TILE]
                _raw_gradients(d, tile, x, grad_y, grad_log, kept, c, bins, inverse, state, feature)
                _copy(state, GRAD_X, TILE, grad_x[d], tile * TILE)
            if grad_bias.size:
                add_lanes(raw, rows, strip, lanes)
            if grad_near.size:
                add_weight_gradients(near, parameters, inputs, start, rows, tile, columns, raw, beside, sums_near)
            if grad_inputs.size:
                add_input_gradients(near, near_across, start, rows, tile, raw, beside, grad_inputs)
            if grad_weight.size:
                events_of_rows = by_column(raw, rows, TILE, row_operands)
                for group in range(length // strip):
                    at, events = (tile * groups + group) * inner_events * strip, present * strip // per
                    place = group * strip
                    add_strip(events_of_rows, 0, inner_events, 1, rows, events, source, at, found, place, length)
            if grad_units.size:
                for s in range(present):
                    pack_rows(raw, s * strip, TILE, rows, strip, strip_operands, 0)
                    at = (begin + s) * width * strip
                    add_strip(weights, 0, 1, reach, reach, inner, strip_operands, 0, sums, at, strip)
        if grad_weight.size:
            store_panel(found, length, mask, panels[i], grad_weight)
        if grad_bias.size:
            store_lanes(lanes, strip, start, stop, grad_bias)
        if grad_near.size:
            grad_near[start:stop] = sums_near[: rows * columns].reshape(rows, columns)[:, : near.shape[1]]
