"""Matrix products inside of numba code: scipy's BLAS, called through a pointer.

`np.dot` in numba wants contiguous arrays and cannot add to its result. A call of ``gemm`` itself takes parts of
matrices as they are. The function's address is a runtime argument, because compiled code that is kept on disk must
not contain addresses.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

from hepflows.kernel import inline, kernel

_NAMES = {np.dtype(np.float32): "sgemm", np.dtype(np.float64): "dgemm"}

_SMALL = 900_000
"""Products of up to a million multiplications take OpenBLAS' path without copies: 97 instead of 78 GFLOP/s here."""


@cache
def gemm_address(dtype: np.dtype[Any]) -> int:
    """Address of BLAS' matrix product for float32 or float64."""
    return int(get_cython_function_address("scipy.linalg.cython_blas", _NAMES[dtype]))


@intrinsic
def _gemm(typing_context, address, beta, rows, columns, inner, a, lda, b, ldb, c, ldc):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
    """C = A B + beta C for row-major matrices, C of shape (rows, columns), A of shape (rows, inner).

    Arguments: address of gemm; beta, a number of the matrices' type; sizes; memory address and row length of
    A, B and C.
    """
    signature = types.void(address, beta, rows, columns, inner, a, lda, b, ldb, c, ldc)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
        address, beta, rows, columns, inner, a, lda, b, ldb, c, ldc = arguments
        byte, integer, real = ir.IntType(8), ir.IntType(32), beta.type

        def pointer_to(value: Any) -> Any:
            return cgutils.alloca_once_value(builder, value)

        def number(value: Any) -> Any:
            return pointer_to(builder.trunc(value, integer))

        def array(value: Any) -> Any:
            return builder.inttoptr(value, real.as_pointer())

        plain, one = pointer_to(byte(ord("N"))), pointer_to(ir.Constant(real, 1.0))
        # BLAS is column-major and so sees the transposed matrices: C^T = B^T A^T.
        values = [plain, plain, number(columns), number(rows), number(inner), one]
        values += [array(b), number(ldb), array(a), number(lda), pointer_to(beta), array(c), number(ldc)]
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(address, function.as_pointer()), values)
        return context.get_dummy_value()

    return signature, codegen


@inline
def _place(array: Any, offset: int) -> Any:
    """Address of element `offset` of a contiguous array."""
    # Numba makes a sum of signed and unsigned integers a float.
    return np.int64(array.ctypes.data) + np.int64(offset * array.itemsize)


@kernel
def multiply(
    address: int,
    beta: Any,
    a: Any,
    a_at: int,
    a_length: int,
    rows: int,
    inner: int,
    b: Any,
    b_at: int,
    c: Any,
    c_at: int,
    columns: int,
) -> None:
    """C = A B + beta C with matrices inside of flat or two-dimensional contiguous arrays.

    Args:
        address: of BLAS' gemm for the arrays' type.
        beta: number of the arrays' type.
        a: array that holds A.
        a_at: element where A starts.
        a_length: distance between rows of A.
        rows: rows of A and C.
        inner: columns of A, rows of B.
        b: array that holds B, rows one after the other.
        b_at: element where B starts.
        c: array that holds C, rows one after the other.
        c_at: element where C starts.
        columns: columns of B and C.
    """
    step = max(8, _SMALL // (columns * inner))
    for first in range(0, rows, step):
        _gemm(
            address,
            beta,
            min(step, rows - first),
            columns,
            inner,
            _place(a, a_at + first * a_length),
            a_length,
            _place(b, b_at),
            columns,
            _place(c, c_at + first * columns),
            columns,
        )
