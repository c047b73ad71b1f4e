"""A masked network's weights, packed for a loop over blocks of dimensions in which each unit is computed once.

The units of a hidden layer stand in ascending order of degree (`hepflows.sorted_network`), so that a layer's weights
are a staircase. Of each layer a block needs

* what everything before it gives: the block's rows times the columns up to there, one dense product, and
* what its own values and units give, one dimension after the other: rows of a dimension times the columns of the
  dimensions of the block up to it.

Together that is the staircase, a step of the size of a block wide: about half of the dense matrices (Germain et al.,
MADE, arXiv:1502.03509: all other weights are masked). The number of units of one degree differs by one or more, but a
loop's body is the same for all blocks: inside of a block each dimension has as many units as the largest degree of the
layer, with weights of zero. Between blocks only true units are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import ConfigError
from hepflows.sorted_network import context_share, sorted_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hepflows.made import MADE

#: Dimensions of a block. Fewer make more rounds of the loop, more make a longer body and a coarser staircase.
_BLOCK_SIZES: Final = range(12, 21)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ragged:
    """Arrays of different lengths, one a block, end to end.

    Attributes:
        flat: all of them, one-dimensional.
        starts: shape (blocks,), where each begins.
        stops: shape (blocks,), one past where each ends.
    """

    flat: NDArray[np.generic]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @staticmethod
    def of(arrays: Sequence[NDArray[np.generic]]) -> Ragged:
        """Join arrays of any shape."""
        stops = np.cumsum([array.size for array in arrays]).astype(np.int64)
        starts = stops - np.array([array.size for array in arrays], dtype=np.int64)
        return Ragged(flat=np.concatenate([array.ravel() for array in arrays]), starts=starts, stops=stops)


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedLayer:
    """A layer; R is the number of rows of one dimension, B that of dimensions in a block.

    Attributes:
        rows: R.
        before: by block a matrix (B R, 1 + known), of the bias, then of all known before the block; the first layer's
            columns are bias, context, values.
        inside: shape (blocks, R, sum of `widths`): for each dimension of the block the columns of what is known inside.
        widths: columns of each dimension in `inside`.
        kept: by block the numbers of its true units among the B R rows; None for the output, and if all of them are.
    """

    rows: int
    before: Ragged
    inside: NDArray[np.float32]
    widths: tuple[int, ...]
    kept: Ragged | None


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedNetwork:
    """A network in blocks.

    Attributes:
        features: number of dimensions D.
        context_features: number of context inputs, 0 for none.
        block: dimensions of a block B; the last block is filled up with dimensions that nothing depends on.
        blocks: number of blocks.
        layers: the hidden layers, then the output.
    """

    features: int
    context_features: int
    block: int
    blocks: int
    layers: tuple[PackedLayer, ...]


def pack(made: MADE) -> PackedNetwork:
    """Pack a network, whose units must all see an input: only that of a single dimension has units of degree 0."""
    import torch

    if made.features < 2:
        raise ConfigError("a loop over dimensions needs several", expected="2 or more", found=made.features)
    with torch.no_grad():
        network = sorted_network(made)
        context = context_share(made, torch.eye(made.context_features).to(made.output.weight))
        weights = [weight.float().numpy() for weight in network.weights]
        biases = [bias.float().numpy() for bias in network.biases]
        fixed = [biases[0][:, None]] if context is None else [biases[0][:, None], context.T.float().numpy()]
    block = block_size(made.features)
    blocks = -(-made.features // block)
    layers: list[PackedLayer] = []
    sources = _columns_of_values(made.features, blocks * block)
    for level, weight in enumerate(weights):
        prefix = np.hstack(fixed if level == 0 else [biases[level][:, None]])
        last = level == len(weights) - 1
        rows = (
            _rows_of_outputs(made.features, blocks * block, made.multiplier)
            if last
            else _rows_of_units(network.stops[level], blocks * block)
        )
        layers.append(_pack_layer(np.hstack([prefix, weight]), prefix.shape[1], rows, sources, block, is_output=last))
        sources = rows
    return PackedNetwork(
        features=made.features,
        context_features=0 if context is None else made.context_features,
        block=block,
        blocks=blocks,
        layers=tuple(layers),
    )


def block_size(features: int) -> int:
    """The size of blocks that leaves the fewest dimensions over; of several the one nearest to their middle."""
    middle = _BLOCK_SIZES[len(_BLOCK_SIZES) // 2]
    return min(_BLOCK_SIZES, key=lambda size: (-features % size, abs(size - middle)))


def _columns_of_values(features: int, padded: int) -> NDArray[np.int64]:
    """Column of each dimension's value, shape (padded, 1), -1 for none."""
    columns = np.arange(padded, dtype=np.int64)
    return np.where(columns < features, columns, -1)[:, None]


def _rows_of_outputs(features: int, padded: int, multiplier: int) -> NDArray[np.int64]:
    """Rows of each dimension's outputs, shape (padded, P), -1 for none."""
    rows = np.arange(padded * multiplier, dtype=np.int64).reshape(padded, multiplier)
    return np.where(rows < features * multiplier, rows, -1)


def _rows_of_units(stops: Sequence[int], padded: int) -> NDArray[np.int64]:
    """Rows of the units of degree d + 1, which are complete with the value of dimension d: (padded, R), -1 for none."""
    edges = np.full(padded + 1, stops[-1], dtype=np.int64)
    edges[: len(stops)] = stops
    rows = edges[:-1, None] + np.arange(max(1, int(np.diff(edges).max())))
    return np.where(rows < edges[1:, None], rows, -1)


def _pack_layer(
    weight: NDArray[np.float32],
    prefix: int,
    rows: NDArray[np.int64],
    sources: NDArray[np.int64],
    block: int,
    *,
    is_output: bool,
) -> PackedLayer:
    """Pack one layer.

    Args:
        weight: shape (rows, prefix + columns).
        prefix: number of columns that are known from the start.
        rows: rows of each dimension, shape (blocks * block, R), -1 for none.
        sources: columns that each dimension completes, shape (blocks * block, S), -1 for none.
        block: dimensions of a block.
        is_output: a dimension's outputs depend on earlier dimensions, its units on its own value as well.
    """
    # The row and the column that -1 names.
    weight = np.pad(weight, ((0, 1), (0, 1)))
    columns = np.where(sources < 0, -1, sources + prefix)
    before, inside, kept = [], [], []
    for start in range(0, len(rows), block):
        mine = rows[start : start + block]
        reach = prefix + int((sources[:start] >= 0).sum())
        before.append(weight[mine.ravel(), :reach])
        steps = []
        for place in range(block):
            here = columns[start : start + place + (not is_output)].ravel()
            steps.append(weight[np.ix_(mine[place], here)])
        inside.append(np.hstack(steps))
        kept.append(np.flatnonzero(mine.ravel() >= 0).astype(np.int64))
    filled = is_output or bool((rows >= 0).all())
    return PackedLayer(
        rows=rows.shape[1],
        before=Ragged.of(before),
        inside=np.stack(inside).astype(np.float32),
        widths=tuple(step.shape[1] for step in steps),
        kept=None if filled else Ragged.of(kept),
    )
