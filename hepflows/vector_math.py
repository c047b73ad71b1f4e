"""Exponential and logarithm for numba loops, written so that LLVM turns them into vector instructions.

Library calls such as ``math.exp`` stop the vectoriser. Here both functions are a range reduction with bit
operations and a Taylor series that is long enough for the reduced range, in float32 and in float64, within about
one unit in the last place. NaN in gives NaN out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

if TYPE_CHECKING:
    from collections.abc import Callable

# IEEE 754 layout: (bits of the type, bits of the fraction, exponent of one, bits of sqrt(1/2)).
_LAYOUT = {types.float32: (32, 23, 127, 0x3F3504F3), types.float64: (64, 52, 1023, 0x3FE6A09E667F3BCD)}

# 1.5 * 2^fraction: adding it leaves the nearest integer in the lowest bits of the fraction.
_ROUND_32, _ROUND_64 = np.float32(1.5 * 2**23), 1.5 * 2.0**52


@intrinsic
def _power_of_two(typing_context: Any, rounded: Any) -> Any:  # noqa: ARG001 - numba's signature
    """2^n, n in the lowest bits of `rounded`, which has been through the addition of 1.5 * 2^fraction."""
    width, fraction, one, _ = _LAYOUT[rounded]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        integer = ir.IntType(width)
        bits = builder.bitcast(arguments[0], integer)
        shifted = builder.shl(builder.add(bits, integer(one)), integer(fraction))
        return builder.bitcast(shifted, arguments[0].type)

    return rounded(rounded), codegen


@intrinsic
def _split(typing_context: Any, value: Any) -> Any:  # noqa: ARG001 - numba's signature
    """(m, n) with value = m * 2^n and m in [sqrt(1/2), sqrt(2)), for positive normal numbers."""
    width, fraction, _, half_root = _LAYOUT[value]
    magic = 0x4B400000 if width == 32 else 0x4338000000000000  # the bits of 1.5 * 2^fraction

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integer, real = ir.IntType(width), arguments[0].type
        bits = builder.bitcast(arguments[0], integer)
        exponent = builder.ashr(builder.sub(bits, integer(half_root)), integer(fraction))
        mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, integer(fraction))), real)
        # Integer to float through the fraction bits: AVX2 has no instruction for 64-bit integers.
        lifted = builder.bitcast(builder.add(exponent, integer(magic)), real)
        number = builder.fsub(lifted, ir.Constant(real, 1.5 * 2.0**fraction))
        return context.make_tuple(builder, signature.return_type, (mantissa, number))

    return types.UniTuple(value, 2)(value), codegen


def exponential(x: float) -> float:
    """e^x, with x limited to the range of normal numbers (numba only)."""
    return math.exp(x)


def logarithm(x: float) -> float:
    """Natural logarithm of a positive normal number; infinity gives NaN (numba only)."""
    return math.log(x)


def logarithm_of_one_plus(x: float) -> float:
    """log(1 + x) for 0 <= x <= 1, exact to rounding for tiny x too (numba only)."""
    return math.log1p(x)


_CONTRACT = {"jit_options": {"fastmath": {"contract"}, "error_model": "numpy", "forceinline": True}}


@overload(exponential, **_CONTRACT)
def _exponential(x: Any) -> Callable[[Any], Any] | None:
    if x == types.float32:
        return _exponential_32()
    return _exponential_64() if x == types.float64 else None


def _exponential_32() -> Callable[[Any], Any]:
    low, high, log2e = np.float32(-87), np.float32(88), np.float32(1.4426950408889634)
    # ln 2 in two parts, the first with so few bits that n times it is exact
    hi, lo = np.float32(0.693359375), np.float32(math.log(2) - 0.693359375)
    one, c2, c3, c4, c5, c6, c7 = (np.float32(1 / math.factorial(n)) for n in range(1, 8))

    def implementation(x: Any) -> Any:
        x = max(x, low)
        x = min(x, high)
        rounded = x * log2e + _ROUND_32
        n = rounded - _ROUND_32
        r = (x - n * hi) - n * lo
        tail = c2 + r * (c3 + r * (c4 + r * (c5 + r * (c6 + r * c7))))
        return (one + (r + r * r * tail)) * _power_of_two(rounded)

    return implementation


def _exponential_64() -> Callable[[Any], Any]:
    low, high, log2e = -708.0, 709.0, 1.4426950408889634
    hi, lo = 0.6931471803691238, 1.9082149292705877e-10
    c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13 = (1 / math.factorial(n) for n in range(2, 14))

    def implementation(x: Any) -> Any:
        x = max(x, low)
        x = min(x, high)
        rounded = x * log2e + _ROUND_64
        n = rounded - _ROUND_64
        r = (x - n * hi) - n * lo
        tail = c8 + r * (c9 + r * (c10 + r * (c11 + r * (c12 + r * c13))))
        tail = c2 + r * (c3 + r * (c4 + r * (c5 + r * (c6 + r * (c7 + r * tail)))))
        return (1.0 + (r + r * r * tail)) * _power_of_two(rounded)

    return implementation


def _series(x: float) -> float:
    """log(1 + x) for |x| < 0.42: with s = x / (2 + x) it is 2 (s + s^3 / 3 + s^5 / 5 + ...) (numba only)."""
    return math.log1p(x)


@overload(_series, **_CONTRACT)
def _series_overload(x: Any) -> Callable[[Any], Any] | None:
    if x == types.float32:
        two = np.float32(2)
        d3, d5, d7, d9, d11 = (np.float32(2 / n) for n in range(3, 12, 2))

        def series_32(x: Any) -> Any:
            s = x / (two + x)
            q = s * s
            # 2 s = x - x s keeps the last bit of x
            return x - s * (x - q * (d3 + q * (d5 + q * (d7 + q * (d9 + q * d11)))))

        return series_32
    if x == types.float64:
        e3, e5, e7, e9, e11, e13, e15, e17, e19, e21, e23 = (2 / n for n in range(3, 24, 2))

        def series_64(x: Any) -> Any:
            s = x / (2.0 + x)
            q = s * s
            tail = e11 + q * (e13 + q * (e15 + q * (e17 + q * (e19 + q * (e21 + q * e23)))))
            return x - s * (x - q * (e3 + q * (e5 + q * (e7 + q * (e9 + q * tail)))))

        return series_64
    return None


@overload(logarithm, **_CONTRACT)
def _logarithm(x: Any) -> Callable[[Any], Any] | None:
    if x not in _LAYOUT:
        return None
    real = np.float32 if x == types.float32 else np.float64
    hi, lo = (
        (0.693359375, math.log(2) - 0.693359375) if real is np.float32 else (0.6931471803691238, 1.9082149292705877e-10)
    )
    one, ln2_hi, ln2_lo = real(1), real(hi), real(lo)

    def implementation(x: Any) -> Any:
        mantissa, n = _split(x)
        # x - x is NaN for NaN and infinity, else 0
        return n * ln2_hi + (_series(mantissa - one) + n * ln2_lo) + (x - x)

    return implementation


@overload(logarithm_of_one_plus, **_CONTRACT)
def _logarithm_of_one_plus(x: Any) -> Callable[[Any], Any] | None:
    if x not in _LAYOUT:
        return None
    real = np.float32 if x == types.float32 else np.float64
    half, one, zero, limit, ln2 = real(0.5), real(1), real(0), real(0.4142135), real(math.log(2))

    def implementation(x: Any) -> Any:
        # beyond sqrt(2) - 1: 1 + x = 2 (1 + (x - 1) / 2), where the subtraction is exact
        large = x > limit
        return (ln2 if large else zero) + _series((x - one) * half if large else x)

    return implementation
