"""Numba kernels of the rational-quadratic spline on tiles of `TILE` elements.

A tile is a structure of arrays: all loops run over the `TILE` elements of one quantity, so that LLVM vectorises
them. `shares` (2 K, TILE), flat, holds raw widths and heights, then their exponentials, then (backward) their
gradients; `state` (N_ROWS, TILE), flat, holds every other quantity, one row each. Always whole tiles are computed,
hence the result of an element does not depend on its neighbours, on its place in a batch or on threads. Loops go to
`width`, at most `TILE`: rows of a narrower tile are as far apart, and its elements go through the same operations.

Formulae: arXiv:1906.04032, equations 4-8, with theta the position in the bin, delta = height / width,
kappa = d0 + d1 - 2 delta and denominator = delta + kappa theta (1 - theta).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hepflows.kernel import inline, kernel
from hepflows.vector_math import exponential, logarithm, logarithm_of_one_plus

TILE = 128
"""Elements of a tile: its arrays stay in the first-level cache."""

# Rows of `state`, as offsets.
X, Y, LOG = 0 * TILE, 1 * TILE, 2 * TILE
BIN = 3 * TILE  # number of the bin, as a float
SHARE_W, BELOW_W, SCALE_W = (
    4 * TILE,
    5 * TILE,
    6 * TILE,
)  # share of the bin and of the bins below; 1 / sum of exp
SHARE_H, BELOW_H, SCALE_H = 7 * TILE, 8 * TILE, 9 * TILE
RAW_0, RAW_1 = 10 * TILE, 11 * TILE  # raw slopes at the two knots of the bin
GRAD_Y, GRAD_LOG, GRAD_X = 12 * TILE, 13 * TILE, 14 * TILE
GRAD_LEFT, GRAD_WIDTH = 15 * TILE, 16 * TILE
GRAD_BOTTOM, GRAD_HEIGHT = 17 * TILE, 18 * TILE
N_ROWS = 19

# constants: bound, span * (1 - K min), span * min (widths, then heights), min_derivative, slope offset
BOUND, FREE_W, MIN_W, FREE_H, MIN_H, MIN_D, OFFSET = range(7)


@inline
def _softmax(shares: Any, bins: Any, state: Any, scale: int, width: int) -> None:
    """Turn raw rows into exponentials relative to their maximum; row `scale` becomes 1 / sum."""
    real = state.dtype.type
    one, zero = real(1), real(0)
    for t in range(width):
        top = shares[t]
        for k in range(1, len(bins)):
            raw = shares[k * TILE + t]
            top = raw if raw > top else top  # noqa: FURB136 - max() would not vectorise
        for k in range(len(bins)):
            shares[k * TILE + t] -= top
    for k in range(len(bins)):
        for i in range(k * TILE, k * TILE + width):
            shares[i] = exponential(shares[i])
    for t in range(width):
        total = zero
        for k in range(len(bins)):
            total += shares[k * TILE + t]
        state[scale + t] = one / total


@inline
def _search(shares: Any, bins: Any, state: Any, scale: int, free: Any, least: Any, bound: Any, width: int) -> None:
    """Row BIN = number of interior knots that x has passed."""
    real = state.dtype.type
    zero = real(0)
    for t in range(width):
        factor = state[scale + t] * free
        below, number = zero, zero
        for k in range(1, len(bins)):
            below += shares[(k - 1) * TILE + t]
            knot = below * factor + (real(k) * least - bound)
            number = real(k) if state[X + t] >= knot else number
        state[BIN + t] = number


@inline
def _pick(shares: Any, bins: Any, state: Any, share: int, below: int, scale: int, width: int) -> None:
    """Rows share and below: softmax of the bin and the sum of those before it."""
    real = state.dtype.type
    zero = real(0)
    for t in range(width):
        number = state[BIN + t]
        total, here = zero, shares[t]
        for k in range(1, len(bins)):
            passed = number >= real(k)
            total += shares[(k - 1) * TILE + t] if passed else zero
            here = shares[k * TILE + t] if passed else here
        state[share + t] = here * state[scale + t]
        state[below + t] = total * state[scale + t]


@kernel
def locate(shares: Any, bins: Any, state: Any, c: Any, inverse: bool, width: int) -> None:
    """From raw shares and row X to rows BIN, SHARE_*, BELOW_*, SCALE_*; X outside of the interval is harmless."""
    widths, heights = shares[: len(bins) * TILE], shares[len(bins) * TILE :]
    _softmax(widths, bins, state, SCALE_W, width)
    _softmax(heights, bins, state, SCALE_H, width)
    if inverse:
        _search(heights, bins, state, SCALE_H, c[FREE_H], c[MIN_H], c[BOUND], width)
    else:
        _search(widths, bins, state, SCALE_W, c[FREE_W], c[MIN_W], c[BOUND], width)
    _pick(widths, bins, state, SHARE_W, BELOW_W, SCALE_W, width)
    _pick(heights, bins, state, SHARE_H, BELOW_H, SCALE_H, width)


@kernel
def pick_slopes(slopes: Any, bins: Any, state: Any, width: int) -> None:
    """Rows RAW_0 and RAW_1 from raw slopes of shape (K - 1, TILE), flat; the outer knots have raw slope 0."""
    real = state.dtype.type
    zero = real(0)
    for t in range(width):
        number = state[BIN + t]
        lower, upper = zero, zero
        for k in range(len(bins) - 1):
            upper = slopes[k * TILE + t] if number == real(k) else upper
            lower = slopes[k * TILE + t] if number == real(k + 1) else lower
        state[RAW_0 + t] = lower
        state[RAW_1 + t] = upper


@inline
def _softplus(x: Any, zero: Any) -> Any:
    positive = max(zero, x)
    return positive + logarithm_of_one_plus(exponential(-abs(x)))


@inline
def clip(x: Any, low: Any, high: Any) -> Any:
    """Limit x; NaN stays NaN."""
    x = max(x, low)
    return min(x, high)


@inline
def bin_of(state: Any, t: int, c: Any) -> Any:
    """Width, left, height, bottom, d0, d1 and the limited argument of element t."""
    zero = state.dtype.type(0)
    number = state[BIN + t]
    width = state[SHARE_W + t] * c[FREE_W] + c[MIN_W]
    left = state[BELOW_W + t] * c[FREE_W] + (number * c[MIN_W] - c[BOUND])
    height = state[SHARE_H + t] * c[FREE_H] + c[MIN_H]
    bottom = state[BELOW_H + t] * c[FREE_H] + (number * c[MIN_H] - c[BOUND])
    d0 = c[MIN_D] + _softplus(state[RAW_0 + t] + c[OFFSET], zero)
    d1 = c[MIN_D] + _softplus(state[RAW_1 + t] + c[OFFSET], zero)
    return width, left, height, bottom, d0, d1, clip(state[X + t], -c[BOUND], c[BOUND])


@inline
def theta_of(state: Any, above: Any, height: Any, delta: Any, d0: Any, kappa: Any) -> Any:
    """Position in the bin of the value `above` the bin's bottom: root of the quadratic, in its stable form."""
    real = state.dtype.type
    two, four, tiny = real(2), real(4), real(1e-30)
    a = above * kappa + height * (delta - d0)
    b = height * d0 - above * kappa
    c = -delta * above
    square = b * b - four * a * c
    root = np.sqrt(max(square, tiny))
    return two * c / (-b - root)


@kernel
def evaluate(state: Any, c: Any, inverse: bool, width: int) -> None:
    """From located rows, RAW_0 and RAW_1 to rows Y and LOG."""
    real = state.dtype.type
    zero, one, two = real(0), real(1), real(2)
    if inverse:
        for t in range(width):
            width, left, height, bottom, d0, d1, x = bin_of(state, t, c)
            delta = height / width
            kappa = d0 + d1 - two * delta
            theta = clip(theta_of(state, x - bottom, height, delta, d0, kappa), zero, one)
            rest = one - theta
            denominator = delta + kappa * theta * rest
            numerator = d1 * theta * theta + two * delta * theta * rest + d0 * rest * rest
            log = -(two * logarithm(delta / denominator) + logarithm(numerator))
            inside = abs(state[X + t]) < c[BOUND]
            state[Y + t] = left + theta * width if inside else state[X + t]
            state[LOG + t] = log if inside else zero
    else:
        for t in range(width):
            width, left, height, bottom, d0, d1, x = bin_of(state, t, c)
            delta = height / width
            kappa = d0 + d1 - two * delta
            theta = clip((x - left) / width, zero, one)
            rest = one - theta
            denominator = delta + kappa * theta * rest
            y = bottom + height * theta * (delta * theta + d0 * rest) / denominator
            numerator = d1 * theta * theta + two * delta * theta * rest + d0 * rest * rest
            log = two * logarithm(delta / denominator) + logarithm(numerator)
            inside = abs(state[X + t]) < c[BOUND]
            state[Y + t] = y if inside else state[X + t]
            state[LOG + t] = log if inside else zero


@kernel
def load_tile(parameters: Any, x: Any, start: int, count: int, bins: Any, shares: Any, state: Any) -> None:
    """Transpose elements start ... start + count - 1 into a tile; missing elements become zeros."""
    stride = 3 * len(bins) - 1
    for t in range(count):
        state[X + t] = x[start + t]
        element = parameters[(start + t) * stride : (start + t + 1) * stride]
        for k in range(2 * len(bins)):
            shares[k * TILE + t] = element[k]
    for t in range(count, TILE):
        state[X + t] = 0
        state[RAW_0 + t] = 0
        state[RAW_1 + t] = 0
        for k in range(2 * len(bins)):
            shares[k * TILE + t] = 0


@kernel
def load_slopes(parameters: Any, start: int, count: int, bins: Any, state: Any) -> None:
    """Raw slopes at the knots of the bin; the outer knots carry raw slope 0, that is derivative 1."""
    zero = state.dtype.type(0)
    stride = 3 * len(bins) - 1
    for t in range(count):
        number = int(state[BIN + t])
        at = (start + t) * stride + 2 * len(bins) + number
        state[RAW_0 + t] = parameters[at - 1] if number > 0 else zero
        state[RAW_1 + t] = parameters[at] if number < len(bins) - 1 else zero


@kernel
def forward(x: Any, parameters: Any, y: Any, log: Any, c: Any, bins: Any, inverse: bool, first: int, last: int) -> None:
    """Spline of the elements of tiles first ... last - 1.

    Args:
        x: shape (N,), arguments.
        parameters: shape (N (3 K - 1),), raw parameters.
        y: shape (N,), written.
        log: shape (N,), log |dy/dx|, written.
        c: constants, see `fused_spline.kernel_constants`.
        bins: a tuple of K zeros: its length is known when numba compiles, so that loops over bins are unrolled.
        inverse: evaluate the inverse.
        first: first tile.
        last: one past the last tile.
    """
    shares = np.empty(2 * len(bins) * TILE, x.dtype)
    state = np.empty(N_ROWS * TILE, x.dtype)
    for tile in range(first, last):
        start = tile * TILE
        count = min(TILE, x.size - start)
        load_tile(parameters, x, start, count, bins, shares, state)
        locate(shares, bins, state, c, inverse, TILE)
        load_slopes(parameters, start, count, bins, state)
        evaluate(state, c, inverse, TILE)
        for t in range(count):
            y[start + t] = state[Y + t]
            log[start + t] = state[LOG + t]
