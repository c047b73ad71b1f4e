"""Matrix products of the training kernels, on strips that stay in the cache, in LLVM's vector instructions.

One matrix of a product is cut into strips of `lanes_of(operand)` columns whose rows follow each other without a gap; of
the other matrix any part may be taken as it lies, also transposed. This reaches the peak of a core for the small
products that training in tiles consists of, and every element is one chain of multiply-adds in the order of the inner
index: its bits do not depend on threads.

Operands are float32, float64, or pairs of bfloat16 in an int32, neighbours along the inner index, the first in the
lower half; sums are float32 then. Processors with AVX512-BF16 multiply pairs in one instruction, which rounds once to
nearest and takes subnormal numbers as zero; elsewhere a pair is two float32 multiply-adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hepflows.kernel import inline, kernel

_FEATURES = binding.get_host_cpu_features()
_LARGE = _FEATURES.get("avx512f", False)

HAS_BFLOAT16 = bool(_FEATURES.get("avx512bf16", False))
"""Whether bfloat16 products have their own instruction."""

STRIP_BYTES = 128 if _LARGE else 64
"""Length of a strip's rows."""

_VECTOR_BYTES = 64
_MANY, _SOME = (12, 4) if _LARGE else (6, 2)
"""Rows computed at once: the sums must fit into the registers, and be enough to hide an addition's latency."""

if HAS_BFLOAT16:
    binding.initialize_native_asmparser()


def _multiply_add(builder: Any, zero: Any) -> Any:
    """A function (a, b, sum) -> sum + a b on vectors of 64 bytes, where `zero` has the operands' type."""
    if zero.type == ir.IntType(32):
        return _multiply_add_pairs(builder)
    bits = 32 if isinstance(zero.type, ir.FloatType) else 64
    lanes = _VECTOR_BYTES * 8 // bits
    vector = ir.VectorType(zero.type, lanes)
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{bits}"
    )
    return lambda a, b, total: builder.call(fma, [a, b, total])


def _multiply_add_pairs(builder: Any) -> Any:
    pairs, sums = ir.VectorType(ir.IntType(32), 16), ir.VectorType(ir.FloatType(), 16)
    if HAS_BFLOAT16:
        # Inline: the types of LLVM's own function for it have changed between versions.
        code = ir.InlineAsm(ir.FunctionType(sums, [sums, pairs, pairs]), "vdpbf16ps $3, $2, $0", "=v,0,v,v")
        return lambda a, b, total: builder.call(code, [total, a, b])
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(sums, [sums] * 3), "llvm.fma.v16f32")
    shift, upper = ir.Constant(pairs, [16] * 16), ir.Constant(pairs, [-65536] * 16)

    def both(a: Any, b: Any, total: Any) -> Any:
        low = [builder.bitcast(builder.shl(v, shift), sums) for v in (a, b)]
        high = [builder.bitcast(builder.and_(v, upper), sums) for v in (a, b)]
        return builder.call(fma, [*high, builder.call(fma, [*low, total])])

    return both


def _micro_kernel(rows: int) -> Any:
    """Intrinsic for C = C + A B, C of shape (rows, one strip)."""

    @intrinsic
    def product(typing_context, inner, a, a_row, a_inner, b, c, c_row, zero):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
        """Addresses of A, B and C; distances in elements between rows of A, columns of A and rows of C."""

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
            inner, a, a_row, a_inner, b, c, c_row, zero = arguments
            operand = zero.type
            real = ir.FloatType() if operand == ir.IntType(32) else operand
            size, integer = (8 if isinstance(real, ir.DoubleType) else 4), ir.IntType(64)
            lanes, vectors = _VECTOR_BYTES // size, STRIP_BYTES // _VECTOR_BYTES
            vector, sum_type = ir.VectorType(operand, lanes), ir.VectorType(real, lanes)
            undefined, same = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
            multiply_add = _multiply_add(builder, zero)

            def place(base: Any, offset: Any, kind: Any) -> Any:
                return builder.inttoptr(builder.add(base, offset), kind.as_pointer())

            a_step, a_length, c_length = (builder.mul(v, integer(size)) for v in (a_inner, a_row, c_row))
            shifts = [integer(v * _VECTOR_BYTES) for v in range(vectors)]
            targets = [
                place(c, builder.add(builder.mul(c_length, integer(row)), shift), sum_type)
                for row in range(rows)
                for shift in shifts
            ]
            starts = [builder.load(target, align=size) for target in targets]
            begins = [builder.add(a, builder.mul(a_length, integer(row))) for row in range(rows)]

            before = builder.block
            head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
            builder.branch(head)
            builder.position_at_end(head)
            k = builder.phi(integer)
            k.add_incoming(integer(0), before)
            sums = [builder.phi(sum_type) for _ in starts]
            for total, start in zip(sums, starts, strict=True):
                total.add_incoming(start, before)
            builder.cbranch(builder.icmp_signed("<", k, inner), body, end)

            builder.position_at_end(body)
            row_of_b, column = builder.mul(k, integer(STRIP_BYTES)), builder.mul(k, a_step)
            parts = [builder.load(place(b, builder.add(row_of_b, shift), vector), align=size) for shift in shifts]
            following = []
            for row in range(rows):
                weight = builder.load(place(begins[row], column, operand))
                first = builder.insert_element(undefined, weight, ir.IntType(32)(0))
                weights = builder.shuffle_vector(first, undefined, same)
                following += [multiply_add(weights, part, sums[row * vectors + v]) for v, part in enumerate(parts)]
            k.add_incoming(builder.add(k, integer(1)), body)
            for old, new in zip(sums, following, strict=True):
                old.add_incoming(new, body)
            builder.branch(head)

            builder.position_at_end(end)
            for target, result in zip(targets, sums, strict=True):
                builder.store(result, target, align=size)
            return context.get_dummy_value()

        return types.void(inner, a, a_row, a_inner, b, c, c_row, zero), codegen

    return product


_many, _some, _one = _micro_kernel(_MANY), _micro_kernel(_SOME), _micro_kernel(1)


@inline
def _place(array: Any, offset: int) -> Any:
    """Address of element `offset` of a contiguous array."""
    # Numba makes a sum of signed and unsigned integers a float.
    return np.int64(array.ctypes.data) + np.int64(offset * array.itemsize)


@kernel
def add_strip(
    a: Any, a_at: int, a_row: int, a_inner: int, rows: int, inner: int, b: Any, b_at: int, c: Any, c_at: int, c_row: int
) -> None:
    """C = C + A B for one strip of B and C.

    Args:
        a: flat array that holds A: its element (i, k) is number a_at + i a_row + k a_inner.
        a_at: see `a`.
        a_row: see `a`.
        a_inner: see `a`.
        rows: rows of A and C.
        inner: columns of A and rows of B, in operands: for bfloat16 half as many as numbers.
        b: flat array of the operands' type that holds B, rows of one strip one after the other.
        b_at: element where B starts.
        c: flat array of floats that holds C.
        c_at: element where C starts.
        c_row: distance between rows of C.
    """
    zero, size = a.dtype.type(0), a.itemsize
    first_a, first_b, first_c = _place(a, a_at), _place(b, b_at), _place(c, c_at)
    a_length, c_length = a_row * size, c_row * c.itemsize
    whole = rows - rows % _MANY
    middle = rows - (rows - whole) % _SOME
    for row in range(0, whole, _MANY):
        _many(inner, first_a + row * a_length, a_row, a_inner, first_b, first_c + row * c_length, c_row, zero)
    for row in range(whole, middle, _SOME):
        _some(inner, first_a + row * a_length, a_row, a_inner, first_b, first_c + row * c_length, c_row, zero)
    for row in range(middle, rows):
        _one(inner, first_a + row * a_length, a_row, a_inner, first_b, first_c + row * c_length, c_row, zero)
