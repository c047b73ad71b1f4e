"""Forward and backward pass of `fused_conditioner`: which kernel gets which array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows.fused_spline import kernel_constants
from hepflows.layer_kernels import input_gradient, layer_forward, rectified_gradient, weight_gradient
from hepflows.operand_kernels import masked_weight, pack_events, pack_units, weight_pairs
from hepflows.output_kernels import KEPT_STATE, output_backward, output_forward
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
    """

    layers: tuple[LayerForm, ...]
    spline: SplineSettings
    inverse: bool
    half: bool


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


def forward_pass(
    forms: Forms, inputs: Tensor, x: Tensor, tensors: Sequence[Tensor], alive: Sequence[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Values of `conditioned_spline`, and what the backward pass wants to find again.

    Args:
        forms: the network and its splines.
        inputs: shape (N, I).
        x: shape (N, D).
        tensors: weights, then biases.
        alive: for each hidden layer which units dropout keeps, shape (strips, H, strip), of size 0 for all.

    Returns:
        y, log-determinant, and a list for `backward_pass`.
    """
    run = Pass(forms, tensors, len(x))
    values, sums = [run.to_strips(inputs)], {}
    wanted = {form.earlier for form in forms.layers}
    for number, (form, kept) in enumerate(zip(forms.layers[:-1], alive, strict=True)):
        shape = (run.strips, len(run.biases[number]), run.strip)
        sums[number] = run.empty(*shape) if number in wanted else run.nothing(3)
        values.append(run.empty(*shape))
        arguments = (
            run.packed_weight(number, across=True),
            run.biases[number],
            form.plan.rows,
            run.per,
            run.packed_units(values[-2]),
            run.nothing(3) if form.earlier is None else sums[form.earlier],
            kept.numpy(),
            run.real.type(1 / (1 - form.dropout)),
            sums[number],
            values[-1],
        )
        _in_parts(layer_forward, arguments, run.strips)
    panels, bins = forms.layers[-1].plan.rows, forms.spline.bins
    units, rows = run.packed_units(values[-1]), run.to_rows(x)
    y, logs = run.empty(*rows.shape), run.empty(len(panels), rows.shape[1], dtype=np.dtype(np.float64))
    kept_splines = run.empty(len(rows), run.tiles, 2 * bins * TILE + KEPT_STATE)
    weights, mask = (run.weights[-1], run.biases[-1]), run.mask(-1)

    def output(first: int, last: int) -> None:
        kernel: Any = output_forward
        given = (*weights, mask, panels[first:last], run.per, units, rows, run.constants, run.bins)
        kernel(*given, forms.inverse, y, logs[first:last], kept_splines)

    in_parts(output, len(panels))
    # what stands behind the last event is arbitrary
    log_det = torch.from_numpy(logs[:, : run.events].sum(0).astype(run.real))
    return run.from_rows(y), log_det, [torch.from_numpy(array) for array in (rows, kept_splines, *values)]


def _in_parts(kernel: Any, given: tuple[Any, ...], count: int) -> None:
    """Call a kernel on parts of a range, which are its last two arguments."""
    in_parts(lambda first, last: kernel(*given, first, last), count)


def _in_panels(kernel: Any, panels: Array, given: tuple[Any, ...]) -> None:
    """Call a kernel on parts of the panels, which are its first argument."""
    in_parts(lambda first, last: kernel(panels[first:last], *given), len(panels))


def backward_pass(
    forms: Forms,
    tensors: Sequence[Tensor],
    memory: Sequence[Tensor],
    gradients: Sequence[Tensor],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of inputs, x, weights and biases, None where not needed.

    Args:
        forms: the network and its splines.
        tensors: weights, then biases.
        memory: from `forward_pass`.
        gradients: of y, shape (N, D), and of the log-determinant, shape (N,).
        needed: of which of inputs, x, weights and biases gradients are wanted.
    """
    run, count = Pass(forms, tensors, len(gradients[0])), len(forms.layers)
    rows, kept_splines, *values = (tensor.numpy() for tensor in memory)
    need_weights, need_biases = needed[2 : 2 + count], needed[2 + count :]
    # whether what is below a layer wants the gradient of the layer's input
    below = [needed[0] or any(need_weights[:layer]) or any(need_biases[:layer]) for layer in range(count)]
    grad_weights = [
        run.empty(*weight.shape) if need else run.nothing(2)
        for weight, need in zip(run.weights, need_weights, strict=True)
    ]
    grad_biases = [
        np.empty_like(bias if need else run.nothing(1)) for bias, need in zip(run.biases, need_biases, strict=True)
    ]
    grad_rows, upstream = _output_backward(
        run, rows, kept_splines, values[-1], gradients, below[-1], grad_weights[-1], grad_biases[-1]
    )
    sums: dict[int, Array] = {}
    for number in range(count - 2, -1, -1):
        if not below[number + 1]:
            break
        form = forms.layers[number]
        later = [sums[other] for other in sums if forms.layers[other].earlier == number]
        arguments = (
            upstream,
            values[number + 1],
            run.real.type(1 / (1 - form.dropout)),
            later[0] if later else run.nothing(3),
        )
        _in_parts(rectified_gradient, arguments, run.strips)
        sums[number] = upstream
        fixed = (
            upstream,
            run.packed_events(values[number]),
            run.mask(number),
            grad_weights[number],
            grad_biases[number],
        )
        panels = form.plan.rows
        _in_panels(weight_gradient, panels, fixed)
        if below[number]:
            found = run.empty(run.strips, run.weights[number].shape[1], run.strip)
            packed = (
                run.packed_weight(number, across=False),
                form.plan.columns,
                run.per,
                run.packed_units(upstream),
                found,
            )
            _in_parts(input_gradient, packed, run.strips)
            upstream = found
    results = [run.from_strips(upstream) if needed[0] else None, run.from_rows(grad_rows) if needed[1] else None]
    results += [
        torch.from_numpy(gradient) if need else None
        for gradient, need in zip(grad_weights + grad_biases, needed[2:], strict=True)
    ]
    return results


def _output_backward(
    run: Pass,
    rows: Array,
    kept_splines: Array,
    values: Array,
    gradients: Sequence[Tensor],
    below: bool,
    grad_weight: Array,
    grad_bias: Array,
) -> tuple[Array, Array]:
    """Gradients of x, shape (D, tiles * TILE), and of the last hidden layer's values, shape (strips, H, strip)."""
    form = run.forms.layers[-1]
    groups = form.plan.groups
    grad_rows, grad_log = run.empty(*rows.shape), np.zeros(rows.shape[1], run.real)
    grad_log[: run.events] = gradients[1].numpy()
    shares = run.empty(len(groups), *(values.shape if below else (0, 0, 0)))
    events = run.packed_events(values)
    fixed = (events, run.strips, rows, run.to_rows(gradients[0]), grad_log, kept_splines, run.constants, run.bins)

    def output(first: int, last: int) -> None:
        for group in range(first, last):
            output_backward(
                run.weights[-1],
                run.mask(-1),
                groups[group],
                *fixed,
                run.forms.inverse,
                grad_rows,
                shares[group],
                grad_weight,
                grad_bias,
            )

    in_parts(output, len(groups))
    return grad_rows, shares.sum(0)
