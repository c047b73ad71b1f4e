"""Matrix products inside of numba code, written in LLVM's vector instructions.

BLAS would do, but its result for one column depends on how many columns there are, on the library and on its
version. Here every element of C = C + A B is one chain of fused multiply-adds in the order of the inner index, with
one rounding each: its bits depend neither on the number of columns nor on how rows and inner index are cut into
calls. So a sample's result is the same in any batch, and narrow tiles may serve small ones.

A row of the working set is a vector of 64 bytes; LLVM splits it where the processor's registers are shorter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hepflows.kernel import inline, kernel

VECTOR_BYTES = 64

_MANY, _SOME = (12, 4) if binding.get_host_cpu_features().get("avx512f", False) else (6, 2)
"""Rows that are computed at once: their sums must fit into the registers, and be enough to hide latency."""


def _micro_kernel(rows: int, vectors: int) -> Any:
    """Intrinsic for C = C + A B, A of shape (rows, inner), C of `vectors` vectors a row."""

    @intrinsic
    def product(typing_context, inner, a, lda, b, c, ldc, zero):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
            inner, a, lda, b, c, ldc, _ = arguments
            real = arguments[-1].type
            bits = 32 if isinstance(real, ir.FloatType) else 64
            lanes = VECTOR_BYTES * 8 // bits
            vector, integer = ir.VectorType(real, lanes), ir.IntType(64)
            size, none = integer(bits // 8), integer(0)
            undefined, same = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
            multiply_add = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{bits}"
            )

            def place(base: Any, offset: Any, kind: Any) -> Any:
                return builder.inttoptr(builder.add(base, offset), kind.as_pointer())

            step, length = builder.mul(ldc, size), builder.mul(lda, size)
            targets = [
                place(c, builder.add(builder.mul(step, integer(row)), integer(v * VECTOR_BYTES)), vector)
                for row in range(rows)
                for v in range(vectors)
            ]
            starts = [builder.load(target, align=bits // 8) for target in targets]
            begins = [builder.add(a, builder.mul(length, integer(row))) for row in range(rows)]

            before = builder.block
            head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
            builder.branch(head)
            builder.position_at_end(head)
            k = builder.phi(integer)
            k.add_incoming(none, before)
            sums = []
            for start in starts:
                sums.append(builder.phi(vector))
                sums[-1].add_incoming(start, before)
            builder.cbranch(builder.icmp_signed("<", k, inner), body, end)

            builder.position_at_end(body)
            row_of_b = builder.mul(k, step)
            parts = [
                builder.load(place(b, builder.add(row_of_b, integer(v * VECTOR_BYTES)), vector), align=bits // 8)
                for v in range(vectors)
            ]
            column = builder.mul(k, size)
            following = []
            for row in range(rows):
                weight = builder.load(place(begins[row], column, real))
                first = builder.insert_element(undefined, weight, ir.IntType(32)(0))
                weights = builder.shuffle_vector(first, undefined, same)
                following += [
                    builder.call(multiply_add, [weights, part, sums[row * vectors + v]]) for v, part in enumerate(parts)
                ]
            k.add_incoming(builder.add(k, integer(1)), body)
            for old, new in zip(sums, following, strict=True):
                old.add_incoming(new, body)
            builder.branch(head)

            builder.position_at_end(end)
            for target, result in zip(targets, sums, strict=True):
                builder.store(result, target, align=bits // 8)
            return context.get_dummy_value()

        return types.void(inner, a, lda, b, c, ldc, zero), codegen

    return product


_many, _some, _one, _one_wide = (
    _micro_kernel(_MANY, 1),
    _micro_kernel(_SOME, 1),
    _micro_kernel(1, 1),
    _micro_kernel(1, 4),
)


@inline
def _place(array: Any, offset: int) -> Any:
    """Address of element `offset` of a contiguous array."""
    # Numba makes a sum of signed and unsigned integers a float.
    return np.int64(array.ctypes.data) + np.int64(offset * array.itemsize)


@kernel
def add_product(
    a: Any, a_at: int, a_length: int, rows: int, inner: int, b: Any, b_at: int, c: Any, c_at: int, columns: int
) -> None:
    """C = C + A B with matrices inside of flat or two-dimensional contiguous arrays of one type.

    Args:
        a: array that holds A.
        a_at: element where A starts.
        a_length: distance between rows of A.
        rows: rows of A and C.
        inner: columns of A, rows of B.
        b: array that holds B, rows one after the other.
        b_at: element where B starts.
        c: array that holds C, rows one after the other.
        c_at: element where C starts.
        columns: columns of B and C; a multiple of VECTOR_BYTES / size of an element.
    """
    zero = c.dtype.type(0)
    size = c.itemsize
    first_a, first_b, first_c = _place(a, a_at), _place(b, b_at), _place(c, c_at)
    whole = rows - rows % _MANY
    middle = rows - (rows - whole) % _SOME
    width = columns * size
    for shift in range(0, width, VECTOR_BYTES):
        for row in range(0, whole, _MANY):
            place = first_c + row * width + shift
            _many(inner, first_a + row * a_length * size, a_length, first_b + shift, place, columns, zero)
        for row in range(whole, middle, _SOME):
            place = first_c + row * width + shift
            _some(inner, first_a + row * a_length * size, a_length, first_b + shift, place, columns, zero)
    wide = width - width % (4 * VECTOR_BYTES)
    for row in range(middle, rows):
        start = first_a + row * a_length * size
        for shift in range(0, wide, 4 * VECTOR_BYTES):
            _one_wide(inner, start, a_length, first_b + shift, first_c + row * width + shift, columns, zero)
        for shift in range(wide, width, VECTOR_BYTES):
            _one(inner, start, a_length, first_b + shift, first_c + row * width + shift, columns, zero)
