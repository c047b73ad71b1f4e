"""Numba kernels of what neighbours add to raw parameters, see `local.LocalTerms`, for `output_kernels`.

A feature's part of a tile is one small matrix product, (P, J) with (J, TILE), which finds its factors in the cache;
written to memory, the terms of a batch would be as large as its raw parameters.
"""

from __future__ import annotations

from typing import Any

from hepflows.kernel import inline, kernel
from hepflows.products import add_product
from hepflows.spline_kernels import TILE


@inline
def _gather(places: Any, inputs: Any, tile: int, out: Any) -> None:
    """A tile of some rows, one after the other."""
    for j in range(places.size):
        row, written = inputs[places[j], tile * TILE : (tile + 1) * TILE], out[j * TILE : (j + 1) * TILE]
        for t in range(TILE):
            written[t] = row[t]


@inline
def _gather_across(places: Any, inputs: Any, tile: int, length: int, out: Any) -> None:
    """A tile of some rows as columns of a matrix with rows of some length; what stands behind them stays."""
    for j in range(places.size):
        row = inputs[places[j], tile * TILE : (tile + 1) * TILE]
        for t in range(TILE):
            out[t * length + j] = row[t]


@kernel
def add_neighbours(
    near: Any, weight: Any, inputs: Any, start: int, rows: int, tile: int, beside: Any, raw: Any
) -> None:
    """Add a tile's terms to the raw parameters of a panel.

    Args:
        near: shape (D, J), places of each feature's neighbours among the inputs.
        weight: shape (D, P, J).
        inputs: shape (I, N), N a multiple of TILE.
        start: first row of the panel.
        rows: number of its rows.
        tile: which.
        beside: workspace of J TILE numbers.
        raw: shape (rows, TILE), flat, changed.
    """
    neighbours, parameters = near.shape[1], weight.shape[1]
    for row in range(0, rows, parameters):
        d = (start + row) // parameters
        _gather(near[d], inputs, tile, beside)
        at = d * parameters * neighbours
        add_product(weight, at, neighbours, parameters, neighbours, beside, 0, raw, row * TILE, TILE)


@kernel
def add_weight_gradients(
    near: Any,
    parameters: int,
    inputs: Any,
    start: int,
    rows: int,
    tile: int,
    length: int,
    raw: Any,
    beside: Any,
    sums: Any,
) -> None:
    """Add a tile's part to the gradients of the weights of a panel.

    Args:
        near: as in `add_neighbours`.
        parameters: rows of a feature P.
        inputs: as there.
        start: as there.
        rows: as there.
        tile: as there.
        length: J, rounded up to whole vectors.
        raw: gradients of the raw parameters, shape (rows, TILE), flat.
        beside: workspace of `length` TILE numbers.
        sums: shape (rows, length), flat; what stands behind the first J columns is arbitrary.
    """
    for row in range(0, rows, parameters):
        _gather_across(near[(start + row) // parameters], inputs, tile, length, beside)
        add_product(raw, row * TILE, TILE, parameters, TILE, beside, 0, sums, row * length, length)


@kernel
def add_input_gradients(
    near: Any, across: Any, start: int, rows: int, tile: int, raw: Any, beside: Any, grad_inputs: Any
) -> None:
    """Take the gradients of a panel's raw parameters to the neighbours.

    Args:
        near: as in `add_neighbours`.
        across: its weights, shape (D, J, P).
        start: as there.
        rows: as there.
        tile: as there.
        raw: gradients of the raw parameters, shape (rows, TILE), flat.
        beside: workspace of J TILE numbers.
        grad_inputs: shape (I, N), changed.
    """
    neighbours, parameters = across.shape[1:]
    for row in range(0, rows, parameters):
        d = (start + row) // parameters
        beside[: neighbours * TILE] = 0
        gradient, at = raw[row * TILE : (row + parameters) * TILE], d * neighbours * parameters
        add_product(across, at, parameters, neighbours, parameters, gradient, 0, beside, 0, TILE)
        for j in range(neighbours):
            total = grad_inputs[near[d, j], tile * TILE : (tile + 1) * TILE]
            share = beside[j * TILE : (j + 1) * TILE]
            for t in range(TILE):
                total[t] += share[t]
