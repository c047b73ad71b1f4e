"""Numba kernels that bring weights and units into the form in which `strip_products` multiplies them.

Units are stored in strips of events, shape (strips, units, events of a strip). A weight's rows are taken in panels:
rows of the array `panels` hold the first row, one past the last, the columns that all of these rows reach, and the
columns that any of them reaches; the mask is read only between the latter two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hepflows.kernel import kernel
from hepflows.spline_kernels import TILE
from hepflows.strip_operands import by_column, by_row, pack_rows


@kernel
def masked_panel(weight: Any, mask: Any, panel: Any, length: int, out: Any) -> None:
    """Rows of a panel in a flat array, `length` apart, up to the last column that any reaches, the masked ones zero."""
    start, stop, full, reach = panel
    zero = weight.dtype.type(0)
    for row in range(start, stop):
        given, written = weight[row], out[(row - start) * length : (row - start) * length + reach]
        for k in range(full):
            written[k] = given[k]
        for k in range(full, reach):
            written[k] = given[k] if mask[row, k] != 0 else zero


@kernel
def store_panel(found: Any, length: int, mask: Any, panel: Any, out: Any) -> None:
    """The gradient of a panel's rows, `length` apart in the flat array `found`, to its place, the masked ones zero."""
    start, stop, full, reach = panel
    zero = found.dtype.type(0)
    for row in range(start, stop):
        given, written = found[(row - start) * length : (row - start) * length + reach], out[row]
        for k in range(full):
            written[k] = given[k]
        for k in range(full, reach):
            written[k] = given[k] if mask[row, k] != 0 else zero
        written[reach:] = 0


@kernel
def masked_weight(weight: Any, mask: Any, panels: Any, out: Any) -> None:
    """A whole weight with the masked ones zero; panels are all its rows, `out` has the weight's shape and is zero."""
    _, columns = weight.shape
    flat = out.reshape(-1)
    for i in range(panels.shape[0]):
        masked_panel(weight, mask, panels[i], columns, flat[panels[i, 0] * columns :])


@kernel
def weight_pairs(weight: Any, across: bool, out: Any) -> None:
    """Shape (rows, columns) to pairs along the rows, (ceil(rows / 2), columns), or along the columns (`across`)."""
    rows, columns = weight.shape
    if across:
        by_column(weight.reshape(-1), rows, columns, out.reshape(-1))
    else:
        by_row(weight.reshape(-1), rows, columns, out.reshape(-1))


@kernel
def pack_units(units: Any, out: Any, first: int, last: int) -> None:
    """Strips first ... last - 1 as operands with the unit as inner index, shape (strips, operands of units, strip)."""
    _, number, strip = units.shape
    source, target = units.reshape(-1), out.reshape(-1)
    for s in range(first, last):
        pack_rows(source, s * number * strip, strip, number, strip, target, s * out.shape[1] * strip)


@kernel
def pack_events(units: Any, out: Any, first: int, last: int) -> None:
    """Units as operands with the event as inner index, for the gradient of weights.

    Args:
        units: shape (strips of events, units, strip).
        out: shape (tiles, strips of units, operands of TILE events, strip), written.
        first: first tile.
        last: one past the last tile.
    """
    strips, number, strip = units.shape
    _, groups, inner, _ = out.shape
    plain = np.empty(TILE * strip, units.dtype)
    target = out.reshape(-1)
    for tile in range(first, last):
        begin = tile * (TILE // strip)
        for group in range(groups):
            unit = group * strip
            count = min(strip, number - unit)
            plain[:] = 0
            for s in range(begin, min(begin + TILE // strip, strips)):
                square = plain[(s - begin) * strip * strip : (s - begin + 1) * strip * strip]
                for u in range(count):
                    row = units[s, unit + u]
                    for t in range(strip):
                        square[t * strip + u] = row[t]
            pack_rows(plain, 0, strip, TILE, strip, target, (tile * groups + group) * inner * strip)
