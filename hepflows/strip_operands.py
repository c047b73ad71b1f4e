"""Copies of matrices as operands of `strip_products`: numbers as they are, or bfloat16 in pairs (numba only).

The type of the destination decides. In pairs, neighbours along the inner index share an int32; what has no neighbour
is paired with zero. Matrices lie in flat arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from hepflows.kernel import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

_INLINE = {"jit_options": {**OPTIONS, "forceinline": True}}

PAIRS = np.dtype(np.int32)
"""Type of an operand that is two numbers in bfloat16."""


@intrinsic
def pair(typing_context: Any, low: Any, high: Any) -> Any:  # noqa: ARG001 - numba's signature
    """Two numbers rounded to bfloat16, to nearest, ties to even; the first in the lower half."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integer = ir.IntType(32)

        def rounded(value: Any, kind: Any) -> Any:
            bits = builder.bitcast(context.cast(builder, value, kind, types.float32), integer)
            odd = builder.and_(builder.lshr(bits, integer(16)), integer(1))
            return builder.add(bits, builder.add(odd, integer(0x7FFF)))

        first, second = (rounded(value, kind) for value, kind in zip(arguments, signature.args, strict=True))
        return builder.or_(builder.lshr(first, integer(16)), builder.and_(second, integer(-65536)))

    return types.int32(low, high), codegen


def pack_rows(source: Any, at: int, row: int, rows: int, columns: int, out: Any, out_at: int) -> None:
    """Operands whose inner index is the row.

    Args:
        source: floats, holds a matrix of shape (rows, columns).
        at: element where it starts.
        row: distance between its rows.
        rows: see `source`.
        columns: see `source`.
        out: operands, gets rows of `columns` operands one after the other, for pairs half as many.
        out_at: element where they start.
    """


def by_row(source: Any, rows: int, columns: int, out: Any) -> Any:
    """Operands whose inner index is the row, of a matrix without gaps: `source` itself, or pairs written to `out`."""


def by_column(source: Any, rows: int, columns: int, out: Any) -> Any:
    """Operands whose inner index is the column, likewise."""


@overload(pack_rows, **_INLINE)
def _pack_rows(source: Any, at: Any, row: Any, rows: Any, columns: Any, out: Any, out_at: Any) -> Callable[..., None]:  # noqa: ARG001 - numba's signature
    def numbers(source: Any, at: Any, row: Any, rows: Any, columns: Any, out: Any, out_at: Any) -> None:
        for i in range(rows):
            given = source[at + i * row : at + i * row + columns]
            written = out[out_at + i * columns : out_at + (i + 1) * columns]
            for j in range(columns):
                written[j] = given[j]

    def pairs(source: Any, at: Any, row: Any, rows: Any, columns: Any, out: Any, out_at: Any) -> None:
        zero = source.dtype.type(0)
        for i in range(rows // 2):
            first = source[at + 2 * i * row : at + 2 * i * row + columns]
            second = source[at + (2 * i + 1) * row : at + (2 * i + 1) * row + columns]
            written = out[out_at + i * columns : out_at + (i + 1) * columns]
            for j in range(columns):
                written[j] = pair(first[j], second[j])
        if rows % 2:
            last = source[at + (rows - 1) * row : at + (rows - 1) * row + columns]
            written = out[out_at + rows // 2 * columns : out_at + (rows // 2 + 1) * columns]
            for j in range(columns):
                written[j] = pair(last[j], zero)

    return pairs if out.dtype == types.int32 else numbers


@overload(by_row, **_INLINE)
def _by_row(source: Any, rows: Any, columns: Any, out: Any) -> Callable[..., Any]:  # noqa: ARG001 - numba's signature
    def numbers(source: Any, rows: Any, columns: Any, out: Any) -> Any:  # noqa: ARG001 - numba's signature
        return source

    def pairs(source: Any, rows: Any, columns: Any, out: Any) -> Any:
        pack_rows(source, 0, columns, rows, columns, out, 0)
        return out

    return pairs if out.dtype == types.int32 else numbers


@overload(by_column, **_INLINE)
def _by_column(source: Any, rows: Any, columns: Any, out: Any) -> Callable[..., Any]:  # noqa: ARG001 - numba's signature
    def numbers(source: Any, rows: Any, columns: Any, out: Any) -> Any:  # noqa: ARG001 - numba's signature
        return source

    def pairs(source: Any, rows: Any, columns: Any, out: Any) -> Any:
        zero, length = source.dtype.type(0), (columns + 1) // 2
        for i in range(rows):
            given, written = source[i * columns : (i + 1) * columns], out[i * length : (i + 1) * length]
            for j in range(columns // 2):
                written[j] = pair(given[2 * j], given[2 * j + 1])
            if columns % 2:
                written[length - 1] = pair(given[columns - 1], zero)
        return out

    return pairs if out.dtype == types.int32 else numbers
