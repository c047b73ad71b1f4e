"""Numba kernels of the hidden layers of a conditioner, forward and backward, see `fused_conditioner`.

A layer's sums are bias + weight input, plus those of an earlier layer in a residual network; its values are
max(0, sums), which dropout sets to zero or multiplies by a factor. Forms of arrays are those of `operand_kernels`;
optional arrays are of size 0 where they are not wanted. `per` is the number of numbers in an operand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hepflows.kernel import inline, kernel
from hepflows.operand_kernels import store_panel
from hepflows.spline_kernels import TILE
from hepflows.strip_operands import by_column
from hepflows.strip_products import add_strip


@kernel
def layer_forward(  # noqa: C901 - one loop nest: calls inside of it would cost what it saves
    weight: Any,
    bias: Any,
    panels: Any,
    per: int,
    inputs: Any,
    earlier: Any,
    alive: Any,
    factor: Any,
    sums: Any,
    values: Any,
    first: int,
    last: int,
) -> None:
    """Strips first ... last - 1 of a layer.

    Args:
        weight: shape (out, operands of `in`).
        bias: shape (out,).
        panels: shape (number, 4).
        per: numbers in an operand.
        inputs: shape (strips, operands of `in`, strip).
        earlier: optional, shape (strips, out, strip): sums of an earlier layer.
        alive: optional, shape (strips, out, strip): false where dropout sets a unit to zero.
        factor: by which dropout multiplies the others.
        sums: optional, shape (strips, out, strip), written.
        values: shape (strips, out, strip), written.
        first: first strip.
        last: one past the last strip.
    """
    zero = values.dtype.type(0)
    _, units, strip = values.shape
    length, size = inputs.shape[1], units * strip
    flat, source, target = weight.reshape(-1), inputs.reshape(-1), values.reshape(-1)
    for s in range(first, last):
        for row in range(units):
            written, shift = values[s, row], bias[row]
            if earlier.size:
                added = earlier[s, row]
                for t in range(strip):
                    written[t] = added[t] + shift
            else:
                for t in range(strip):
                    written[t] = shift
        for i in range(panels.shape[0]):
            start, stop, _, reach = panels[i]
            inner, at = (reach + per - 1) // per, (s * units + start) * strip
            add_strip(
                flat, start * length, length, 1, stop - start, inner, source, s * length * strip, target, at, strip
            )
        found = target[s * size : (s + 1) * size]
        if sums.size:
            before = sums.reshape(-1)[s * size : (s + 1) * size]
            for t in range(size):
                before[t] = found[t]
        for t in range(size):
            found[t] = zero if found[t] < zero else found[t]  # noqa: FURB136 - NaN stays NaN
        if alive.size:
            lives = alive.reshape(-1)[s * size : (s + 1) * size]
            for t in range(size):
                found[t] = found[t] * factor if lives[t] else zero


@kernel
def rectified_gradient(gradients: Any, values: Any, factor: Any, later: Any, first: int, last: int) -> None:
    """Gradient of a layer's sums in place of that of its values.

    Args:
        gradients: shape (strips, out, strip).
        values: shape (strips, out, strip); a unit that is zero has no gradient.
        factor: as in `layer_forward`.
        later: optional, shape (strips, out, strip): gradient that a later layer gives to the sums.
        first: first strip.
        last: one past the last strip.
    """
    zero = values.dtype.type(0)
    size = values.shape[1] * values.shape[2]
    for s in range(first, last):
        gradient, known = (
            gradients.reshape(-1)[s * size : (s + 1) * size],
            values.reshape(-1)[s * size : (s + 1) * size],
        )
        for t in range(size):
            gradient[t] = zero if known[t] == zero else gradient[t] * factor
        if later.size:
            added = later.reshape(-1)[s * size : (s + 1) * size]
            for t in range(size):
                gradient[t] += added[t]


@kernel
def input_gradient(weight: Any, columns: Any, per: int, upstream: Any, out: Any, first: int, last: int) -> None:
    """Gradient of strips first ... last - 1 of a layer's input.

    Args:
        weight: shape (operands of `out`, in).
        columns: shape (number, 3): first column of a panel of columns, one past the last, and a multiple of `per` below
            which no row reaches it.
        per: numbers in an operand.
        upstream: shape (strips, operands of `out`, strip), gradient of the layer's sums.
        out: shape (strips, in, strip), written.
        first: first strip.
        last: one past the last strip.
    """
    _, inputs, strip = out.shape
    length = upstream.shape[1]
    flat, source, target = weight.reshape(-1), upstream.reshape(-1), out.reshape(-1)
    out[first:last] = 0
    for s in range(first, last):
        for i in range(columns.shape[0]):
            start, stop, least = columns[i]
            begin = least // per
            at, into = (s * length + begin) * strip, (s * inputs + start) * strip
            add_strip(
                flat, begin * inputs + start, 1, inputs, stop - start, length - begin, source, at, target, into, strip
            )


@inline
def add_lanes(rows: Any, count: int, strip: int, lanes: Any) -> None:
    """Add `count` rows of TILE events to rows of `strip` partial sums."""
    for row in range(count):
        total = lanes[row * strip : (row + 1) * strip]
        for at in range(row * TILE, (row + 1) * TILE, strip):
            given = rows[at : at + strip]
            for t in range(strip):
                total[t] += given[t]


@kernel
def store_lanes(lanes: Any, strip: int, start: int, stop: int, out: Any) -> None:
    """Sum of each row of `lanes` to elements start ... stop - 1."""
    for row in range(stop - start):
        total = out.dtype.type(0)
        for t in range(strip):
            total += lanes[row * strip + t]
        out[start + row] = total


@kernel
def weight_gradient(panels: Any, upstream: Any, inputs: Any, mask: Any, grad_weight: Any, grad_bias: Any) -> None:  # noqa: C901 - one loop nest: calls inside of it would cost what it saves
    """Gradients of the weight's rows of some panels and of their biases.

    Args:
        panels: shape (number, 4).
        upstream: shape (strips, out, strip), gradient of the layer's sums.
        inputs: shape (tiles, strips of inputs, operands of TILE events, strip).
        mask: shape (out, in) of 0 and 1, or of size 0 if every panel is full.
        grad_weight: optional, shape (out, in), written.
        grad_bias: optional, shape (out,), written.
    """
    strips, _, strip = upstream.shape
    tiles, groups, inner, _ = inputs.shape
    per = TILE // inner
    most = 0
    for i in range(panels.shape[0]):
        most = max(most, panels[i, 1] - panels[i, 0])
    source = inputs.reshape(-1)
    rows, lanes = np.empty(most * TILE, upstream.dtype), np.empty(most * strip, upstream.dtype)
    packed, found = np.empty(most * inner, inputs.dtype), np.empty(most * groups * strip, upstream.dtype)
    for i in range(panels.shape[0]):
        start, stop, _, reach = panels[i]
        number, length = stop - start, (reach + strip - 1) // strip * strip
        found[: number * length] = 0
        lanes[: number * strip] = 0
        for tile in range(tiles):
            begin = tile * (TILE // strip)
            present = min(TILE // strip, strips - begin)
            rows[: number * TILE] = 0
            for s in range(present):
                for row in range(number):
                    given = upstream[begin + s, start + row]
                    written = rows[row * TILE + s * strip : row * TILE + (s + 1) * strip]
                    for t in range(strip):
                        written[t] = given[t]
            if grad_bias.size:
                add_lanes(rows, number, strip, lanes)
            if grad_weight.size:
                operands = by_column(rows, number, TILE, packed)
                for group in range(length // strip):
                    at = (tile * groups + group) * inner * strip
                    events = present * strip // per
                    add_strip(operands, 0, inner, 1, number, events, source, at, found, group * strip, length)
        if grad_weight.size:
            store_panel(found, length, mask, panels[i], grad_weight)
        if grad_bias.size:
            store_lanes(lanes, strip, start, stop, grad_bias)
