"""Spline coupling on the CPU in numba: conditioner and splines of a tile of samples, without gradients.

Nothing of the size of the raw parameters of a batch is written to memory, and as in `incremental_numba` the result of
a sample does not depend on the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows.fused_spline import kernel_constants
from hepflows.kernel import kernel
from hepflows.packing import packed_residual
from hepflows.products import add_product
from hepflows.spline_kernels import N_ROWS, TILE, Y
from hepflows.threads import in_parts
from hepflows.tiles import fill_rows, rectify, spline_row, tiles_of, transpose, transpose_back

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.conditioner import ResidualMLP
    from hepflows.local import LocalTerms
    from hepflows.splines import SplineSettings

_BLOCK_ROWS = 144
"""Output rows that are computed at once: enough for the matrix product, few enough for the cache."""


def couple(
    network: ResidualMLP,
    v: Tensor,
    context: Tensor | None,
    spline: SplineSettings,
    *,
    inverse: bool,
    local: LocalTerms | None = None,
) -> tuple[Tensor, Tensor]:
    """Transform the last features given the first: (N, D) to (N, D) and the summed log-derivative (N,).

    Args:
        network: conditioner on the CPU, evaluated without dropout; from the kept features and the context to the raw
            parameters of the moved ones, which are the last ones.
        v: shape (N, D), float32 or float64 as the network.
        context: shape (N, C) or None.
        spline: shape of the splines.
        inverse: apply the inverse spline or the forward one.
        local: what neighbours among the network's inputs add to the raw parameters.
    """
    given = v.detach().contiguous().numpy()
    known = np.empty((len(given), 0), given.dtype) if context is None else context.detach().contiguous().numpy()
    result, log_det = given.copy(), np.empty(len(given), given.dtype)
    weights = packed_residual(network)
    near = np.empty((0, 0), np.int64) if local is None else local.index.numpy()
    near_weights = np.empty(0, given.dtype) if local is None else local.weight.detach().flatten().numpy()
    constants, bins = kernel_constants(spline, given.dtype), (0,) * spline.bins
    tiles = tiles_of(len(given))

    def work(first: int, last: int) -> None:
        part = tiles[first:last]
        _couple_tiles(given, known, weights, near, near_weights, constants, bins, inverse, result, log_det, part)

    in_parts(work, len(tiles))
    return torch.from_numpy(result), torch.from_numpy(log_det)


@kernel
def _condition(weights: Any, inputs: Any, hidden: Any, first: Any, second: Any, width: int) -> None:
    """Last hidden state of the residual network, rectified.

    Args:
        weights: packed network.
        inputs: shape (I, width), flat.
        hidden: shape (H, width), flat, written.
        first: workspace like `hidden`.
        second: workspace like `hidden`.
        width: of the tile.
    """
    size = weights.entry_bias.size
    n_inputs = weights.entry.shape[1]
    fill_rows(hidden, weights.entry_bias, width)
    add_product(weights.entry, 0, n_inputs, size, n_inputs, inputs, 0, hidden, 0, width)
    for layer in range(0, weights.inner.shape[0], 2):
        first[:] = hidden
        rectify(first)
        fill_rows(second, weights.inner_bias[layer], width)
        add_product(weights.inner, layer * size * size, size, size, size, first, 0, second, 0, width)
        rectify(second)
        fill_rows(first, weights.inner_bias[layer + 1], width)
        add_product(weights.inner, (layer + 1) * size * size, size, size, size, second, 0, first, 0, width)
        for t in range(hidden.size):
            hidden[t] += first[t]
    rectify(hidden)


@kernel
def _couple_tiles(
    v: Any,
    context: Any,
    weights: Any,
    near: Any,
    near_weights: Any,
    c: Any,
    bins: Any,
    inverse: bool,
    result: Any,
    log_det: Any,
    tiles: Any,
) -> None:
    """Transform some tiles; arguments as in `couple`, tiles of shape (T, 2): first sample and width of each.

    Neighbours `near` have the shape (moved features, K) or are empty, their weights that of (moved, P, K), flat.
    """
    contexts, rows, size = context.shape[1], 3 * len(bins) - 1, weights.entry_bias.size
    moved, kept = weights.out_bias.size // rows, weights.entry.shape[1] - contexts
    block = max(1, _BLOCK_ROWS // rows)
    memory = np.empty(((kept + contexts) + 3 * size + block * rows + 2 * moved) * TILE, v.dtype)
    neighbours = near.shape[1]
    beside = np.empty(neighbours * TILE, v.dtype)
    shares = np.empty(2 * len(bins) * TILE, v.dtype)
    state = np.zeros(N_ROWS * TILE, v.dtype)
    total = np.empty(TILE, np.float64)
    for tile in range(tiles.shape[0]):
        begin, width = tiles[tile]
        count = min(width, v.shape[0] - begin)
        total[:] = 0
        inputs, at = memory[: (kept + contexts) * width], (kept + contexts) * width
        hidden, first, second = (
            memory[at : at + size * width],
            memory[at + size * width : at + 2 * size * width],
            memory[at + 2 * size * width : at + 3 * size * width],
        )
        at += 3 * size * width
        arguments, results = memory[at : at + moved * width], memory[at + moved * width : at + 2 * moved * width]
        raw = memory[at + 2 * moved * width : at + (2 * moved + block * rows) * width]
        transpose(v, begin, count, 0, kept, inputs, width)
        transpose(context, begin, count, 0, contexts, inputs[kept * width :], width)
        transpose(v, begin, count, kept, kept + moved, arguments, width)
        _condition(weights, inputs, hidden, first, second, width)
        for start in range(0, moved, block):
            stop = min(start + block, moved)
            fill_rows(raw, weights.out_bias[start * rows : stop * rows], width)
            add_product(weights.out, start * rows * size, size, (stop - start) * rows, size, hidden, 0, raw, 0, width)
            for d in range(start, stop):
                for k in range(neighbours):
                    place = near[d, k] * width
                    beside[k * width : (k + 1) * width] = inputs[place : place + width]
                if neighbours:
                    at_raw = (d - start) * rows * width
                    add_product(
                        near_weights, d * rows * neighbours, neighbours, rows, neighbours, beside, 0, raw, at_raw, width
                    )
                parameters = raw[(d - start) * rows * width : (d - start + 1) * rows * width]
                argument = arguments[d * width : (d + 1) * width]
                spline_row(parameters, argument, c, bins, inverse, shares, state, total, width)
                results[d * width : (d + 1) * width] = state[Y : Y + width]
        for t in range(count):
            log_det[begin + t] = total[t]
        transpose_back(results, begin, count, kept, result, width)
