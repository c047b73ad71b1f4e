"""Matrix products in numba: right, and every element's bits independent of the shape of the call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepflows.products import VECTOR_BYTES, add_product


def _product(a: Any, b: Any, c: Any) -> Any:
    out = c.copy()
    rows, inner = a.shape
    add_product(a.ravel(), 0, inner, rows, inner, b.ravel(), 0, out.ravel(), 0, b.shape[1])
    return out


@given(
    rows=st.integers(0, 40),
    inner=st.integers(0, 70),
    vectors=st.integers(1, 9),
    double=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_agrees_with_numpy(rows: int, inner: int, vectors: int, double: bool, seed: int) -> None:
    dtype = np.float64 if double else np.float32
    columns = vectors * VECTOR_BYTES // np.dtype(dtype).itemsize
    rng = np.random.default_rng(seed)
    a, b, c = (rng.normal(size=shape).astype(dtype) for shape in ((rows, inner), (inner, columns), (rows, columns)))
    exact = c.astype(np.longdouble) + a.astype(np.longdouble) @ b.astype(np.longdouble)
    # each of `inner` roundings is at most half a unit of the largest partial sum
    bound = (inner + 1) * np.finfo(dtype).eps * (np.abs(c) + np.abs(a) @ np.abs(b))
    assert np.all(np.abs(_product(a, b, c) - exact) <= bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_depend_on_how_the_product_is_cut(dtype: type) -> None:
    rng = np.random.default_rng(0)
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    rows, inner, columns = 29, 61, 8 * lanes
    a, b, c = (rng.normal(size=shape).astype(dtype) for shape in ((rows, inner), (inner, columns), (rows, columns)))
    whole = _product(a, b, c)
    for row in range(rows):
        assert np.array_equal(_product(a[row : row + 1], b, c[row : row + 1])[0], whole[row])
    for shift in range(0, columns, lanes):
        part = np.ascontiguousarray(b[:, shift : shift + lanes])
        assert np.array_equal(_product(a, part, c[:, shift : shift + lanes].copy()), whole[:, shift : shift + lanes])
    halves = _product(np.ascontiguousarray(a[:, :17]), np.ascontiguousarray(b[:17]), c)
    assert np.array_equal(_product(np.ascontiguousarray(a[:, 17:]), np.ascontiguousarray(b[17:]), halves), whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_a_chain_of_fused_multiply_adds(dtype: type) -> None:
    # (1 + e)(1 - e) = 1 - e^2 rounds to 1: only a fused multiply-add sees the difference to -1
    e = dtype(np.finfo(dtype).eps)
    columns = VECTOR_BYTES // np.dtype(dtype).itemsize
    a, b = np.array([[1 + e]], dtype), np.full((1, columns), 1 - e, dtype)
    found = _product(a, b, np.full((1, columns), -1, dtype))
    assert np.all(found == -e * e)


def test_parts_of_larger_arrays() -> None:
    rng = np.random.default_rng(1)
    a, b, c = (rng.normal(size=size).astype(np.float32) for size in (500, 400, 300))
    before = c.copy()
    add_product(a, 7, 11, 5, 4, b, 16, c, 32, 16)
    left = np.stack([a[7 + 11 * row : 7 + 11 * row + 4] for row in range(5)])
    expected = before[32:112].reshape(5, 16) + left @ b[16:80].reshape(4, 16)
    np.testing.assert_allclose(c[32:112].reshape(5, 16), expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(c[:32], before[:32])
    assert np.array_equal(c[112:], before[112:])
