"""Weights and data of one batch as the arrays that the kernels of `fused_passes` take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows.fused_spline import kernel_constants
from hepflows.operand_kernels import masked_weight, pack_events, pack_units, weight_pairs
from hepflows.spline_kernels import TILE
from hepflows.strip_operands import PAIRS
from hepflows.strip_products import STRIP_BYTES
from hepflows.threads import in_parts
from hepflows.workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.layer_plan import LayerForm
    from hepflows.splines import SplineSettings

    Array = NDArray[Any]


@dataclass(frozen=True)
class Forms:
    """What a conditioner and its splines are, apart from weights and data.

    Attributes:
        layers: hidden layers, then the output layer.
        spline: shape of the splines.
        inverse: evaluate the inverse functions.
        half: multiply in bfloat16.
        near: shape (D, J), places of each feature's neighbours among the inputs; None without any.
    """

    layers: tuple[LayerForm, ...]
    spline: SplineSettings
    inverse: bool
    half: bool
    near: Tensor | None = None


class Pass:
    """Sizes, weights and conversions that both passes of one batch share.

    Args:
        forms: the network and its splines.
        tensors: weights of all layers, then their biases.
        events: number of events N; their strips are filled up with zeros.
    """

    def __init__(self, forms: Forms, tensors: Sequence[Tensor], events: int) -> None:
        count = len(forms.layers)
        arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
        self.forms, self.events = forms, events
        self.weights, self.biases = arrays[:count], arrays[count:]
        self.real = self.weights[0].dtype
        self.operand: np.dtype[Any] = PAIRS if forms.half else self.real
        self.per = 2 if forms.half else 1
        self.strip = STRIP_BYTES // self.real.itemsize
        self.strips, self.tiles = -(-events // self.strip), -(-events // TILE)
        # One strip more than the tiles: rows whose distance is a power of two would share few lines of the cache.
        self.row_length = self.tiles * TILE + self.strip
        self.constants, self.bins = kernel_constants(forms.spline, self.real), (0,) * forms.spline.bins

    @property
    def has_neighbours(self) -> bool:
        """Whether neighbours add to the raw parameters."""
        return self.forms.near is not None

    @property
    def near(self) -> Array:
        """Their places; of size 0 without any."""
        return np.empty((0, 0), np.int64) if self.forms.near is None else self.forms.near.numpy()

    def empty(self, *shape: int, dtype: np.dtype[Any] | None = None) -> Array:
        """An array of numbers with arbitrary content."""
        return workspace().empty(shape, self.real if dtype is None else dtype)

    def nothing(self, dimensions: int) -> Array:
        """What kernels get for an array that is not wanted."""
        return np.empty((0,) * dimensions, self.real)

    def operands(self, numbers: int) -> int:
        """Operands that so many numbers make along the inner index."""
        return -(-numbers // self.per)

    def mask(self, layer: int) -> Array:
        """A layer's mask; of size 0 if it has none."""
        mask = self.forms.layers[layer].mask
        return self.nothing(2) if mask is None else mask.numpy()

    def packed_weight(self, layer: int, *, across: bool) -> Array:
        """A hidden layer's weight as operands with its column (`across`), or else its row, as inner index."""
        weight, form = self.weights[layer], self.forms.layers[layer]
        if form.mask is not None:
            masked = np.zeros_like(weight)
            masked_weight(weight, self.mask(layer), form.plan.rows, masked)
            weight = masked
        if self.per == 1:
            return weight
        rows, columns = weight.shape
        shape = (rows, self.operands(columns)) if across else (self.operands(rows), columns)
        packed = np.empty(shape, self.operand)
        weight_pairs(weight, across, packed)
        return packed

    def packed_units(self, units: Array) -> Array:
        """Units (strips, H, strip) as operands with the unit as inner index."""
        if self.per == 1:
            return units
        packed = self.empty(self.strips, self.operands(units.shape[1]), self.strip, dtype=self.operand)
        in_parts(lambda first, last: pack_units(units, packed, first, last), self.strips)
        return packed

    def packed_events(self, units: Array) -> Array:
        """Units as operands with the event as inner index, shape (tiles, strips of units, operands, strip)."""
        shape = (self.tiles, -(-units.shape[1] // self.strip), TILE // self.per, self.strip)
        packed = self.empty(*shape, dtype=self.operand)
        in_parts(lambda first, last: pack_events(units, packed, first, last), self.tiles)
        return packed

    def to_strips(self, table: Tensor) -> Array:
        """Shape (N, H) to (strips, H, strip)."""
        strips = self.empty(self.strips, table.shape[1], self.strip)
        out, whole = torch.from_numpy(strips), self.events // self.strip
        cut = whole * self.strip
        out[:whole].copy_(table[:cut].unflatten(0, (whole, self.strip)).transpose(1, 2))
        if cut < self.events:
            out[whole].zero_()
            out[whole, :, : self.events - cut].copy_(table[cut:].T)
        return strips

    def from_strips(self, strips: Array) -> Tensor:
        """The reverse of `to_strips`."""
        table = torch.from_numpy(self.empty(self.strips, self.strip, strips.shape[1]))
        return table.copy_(torch.from_numpy(strips).transpose(1, 2)).flatten(0, 1)[: self.events]

    def to_rows(self, table: Tensor) -> Array:
        """Shape (N, D) to (D, N), filled up to whole tiles and one strip more."""
        rows = self.empty(table.shape[1], self.row_length)
        out = torch.from_numpy(rows)
        out[:, : self.events].copy_(table.T)
        out[:, self.events :].zero_()
        return rows

    def from_rows(self, rows: Array) -> Tensor:
        """The reverse of `to_rows`."""
        table = torch.from_numpy(self.empty(self.events, len(rows)))
        return table.copy_(torch.from_numpy(rows)[:, : self.events].T)
