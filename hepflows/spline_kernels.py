"""Numba kernels of the rational-quadratic spline on tiles of `TILE` elements.

A tile is a structure of arrays: all loops run over the `TILE` elements of one quantity, so that LLVM vectorises
them. `shares` (2 K, TILE), flat, holds raw widths and heights, then their exponentials, then (backward) their
gradients; `state` (N_ROWS, TILE), flat, holds every other quantity, one row each. Always whole tiles are computed,
hence the result of an element does not depend on its neighbours, on its place in a batch or on threads.

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
def _softmax(shares: Any, bins: Any, state: Any, scale: int) -> None:
    """Turn raw rows into exponentials relative to their maximum; row `scale` becomes 1 / sum."""
    real = state.dtype.type
    one, zero = real(1), real(0)
    for t in range(TILE):
        top = shares[t]
        for k in range(1, len(bins)):
            raw = shares[k * TILE + t]
            top = raw if raw > top else top
        for k in range(len(bins)):
            shares[k * TILE + t] -= top
    for i in range(len(bins) * TILE):
        shares[i] = exponential(shares[i])
    for t in range(TILE):
        total = zero
        for k in range(len(bins)):
            total += shares[k * TILE + t]
        state[scale + t] = one / total


@inline
def _search(shares: Any, bins: Any, state: Any, scale: int, free: Any, least: Any, bound: Any) -> None:
    """Row BIN = number of interior knots that x has passed."""
    real = state.dtype.type
    zero = real(0)
    for t in range(TILE):
        factor = state[scale + t] * free
        below, number = zero, zero
        for k in range(1, len(bins)):
            below += shares[(k - 1) * TILE + t]
            knot = below * factor + (real(k) * least - bound)
            number = real(k) if state[X + t] >= knot else number
        state[BIN + t] = number


@inline
def _pick(shares: Any, bins: Any, state: Any, share: int, below: int, scale: int) -> None:
    """Rows share and below: softmax of the bin and the sum of those before it."""
    real = state.dtype.type
    zero = real(0)
    for t in range(TILE):
        number = state[BIN + t]
        total, here = zero, shares[t]
        for k in range(1, len(bins)):
            passed = number >= real(k)
            total += shares[(k - 1) * TILE + t] if passed else zero
            here = shares[k * TILE + t] if passed else here
        state[share + t] = here * state[scale + t]
        state[below + t] = total * state[scale + t]


@kernel
def locate(shares: Any, bins: Any, state: Any, c: Any, inverse: bool) -> None:
    """From raw shares and row X to rows BIN, SHARE_*, BELOW_*, SCALE_*; X outside of the interval is harmless."""
    widths, heights = shares[: len(bins) * TILE], shares[len(bins) * TILE :]
    _softmax(widths, bins, state, SCALE_W)
    _softmax(heights, bins, state, SCALE_H)
    if inverse:
        _search(heights, bins, state, SCALE_H, c[FREE_H], c[MIN_H], c[BOUND])
    else:
        _search(widths, bins, state, SCALE_W, c[FREE_W], c[MIN_W], c[BOUND])
    _pick(widths, bins, state, SHARE_W, BELOW_W, SCALE_W)
    _pick(heights, bins, state, SHARE_H, BELOW_H, SCALE_H)


@kernel
def pick_slopes(slopes: Any, bins: Any, state: Any) -> None:
    """Rows RAW_0 and RAW_1 from raw slopes of shape (K - 1, TILE), flat; the outer knots have raw slope 0."""
    real = state.dtype.type
    zero = real(0)
    for t in range(TILE):
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
def _clip(x: Any, low: Any, high: Any) -> Any:
    x = max(x, low)
    return min(x, high)


@inline
def _bin(state: Any, t: int, c: Any) -> Any:
    """Width, left, height, bottom, d0, d1 and the limited argument of element t."""
    zero = state.dtype.type(0)
    number = state[BIN + t]
    width = state[SHARE_W + t] * c[FREE_W] + c[MIN_W]
    left = state[BELOW_W + t] * c[FREE_W] + (number * c[MIN_W] - c[BOUND])
    height = state[SHARE_H + t] * c[FREE_H] + c[MIN_H]
    bottom = state[BELOW_H + t] * c[FREE_H] + (number * c[MIN_H] - c[BOUND])
    d0 = c[MIN_D] + _softplus(state[RAW_0 + t] + c[OFFSET], zero)
    d1 = c[MIN_D] + _softplus(state[RAW_1 + t] + c[OFFSET], zero)
    return width, left, height, bottom, d0, d1, _clip(state[X + t], -c[BOUND], c[BOUND])


@inline
def _theta(state: Any, above: Any, height: Any, delta: Any, d0: Any, kappa: Any) -> Any:
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
def evaluate(state: Any, c: Any, inverse: bool) -> None:
    """From located rows, RAW_0 and RAW_1 to rows Y and LOG."""
    real = state.dtype.type
    zero, one, two = real(0), real(1), real(2)
    if inverse:
        for t in range(TILE):
            width, left, height, bottom, d0, d1, x = _bin(state, t, c)
            delta = height / width
            kappa = d0 + d1 - two * delta
            theta = _clip(_theta(state, x - bottom, height, delta, d0, kappa), zero, one)
            rest = one - theta
            denominator = delta + kappa * theta * rest
            numerator = d1 * theta * theta + two * delta * theta * rest + d0 * rest * rest
            log = -(two * logarithm(delta / denominator) + logarithm(numerator))
            inside = abs(state[X + t]) < c[BOUND]
            state[Y + t] = left + theta * width if inside else state[X + t]
            state[LOG + t] = log if inside else zero
    else:
        for t in range(TILE):
            width, left, height, bottom, d0, d1, x = _bin(state, t, c)
            delta = height / width
            kappa = d0 + d1 - two * delta
            theta = _clip((x - left) / width, zero, one)
            rest = one - theta
            denominator = delta + kappa * theta * rest
            y = bottom + height * theta * (delta * theta + d0 * rest) / denominator
            numerator = d1 * theta * theta + two * delta * theta * rest + d0 * rest * rest
            log = two * logarithm(delta / denominator) + logarithm(numerator)
            inside = abs(state[X + t]) < c[BOUND]
            state[Y + t] = y if inside else state[X + t]
            state[LOG + t] = log if inside else zero


@kernel
def _load(parameters: Any, x: Any, start: int, count: int, bins: Any, shares: Any, state: Any) -> None:
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
def _load_slopes(parameters: Any, start: int, count: int, bins: Any, state: Any) -> None:
    """Raw slopes at the knots of the bin; the outer knots carry raw slope 0, that is derivative 1."""
    zero = state.dtype.type(0)
    stride = 3 * len(bins) - 1
    for t in range(count):
        number = int(state[BIN + t])
        at = (start + t) * stride + 2 * len(bins) + number
        state[RAW_0 + t] = parameters[at - 1] if number > 0 else zero
        state[RAW_1 + t] = parameters[at] if number < len(bins) - 1 else zero


@kernel
def forward(
    x: Any, parameters: Any, y: Any, log: Any, c: Any, bins: Any, inverse: bool, first: int, last: int
) -> None:
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
        _load(parameters, x, start, count, bins, shares, state)
        locate(shares, bins, state, c, inverse)
        _load_slopes(parameters, start, count, bins, state)
        evaluate(state, c, inverse)
        for t in range(count):
            y[start + t] = state[Y + t]
            log[start + t] = state[LOG + t]


@inline
def _slope_factor(raw: Any, one: Any, zero: Any) -> Any:
    """Derivative of softplus, the logistic function."""
    e = exponential(-abs(raw))
    return (one if raw > zero else e) / (one + e)


@kernel
def differentiate(state: Any, c: Any, inverse: bool) -> None:
    """From located rows and GRAD_Y, GRAD_LOG to GRAD_X and the gradients of the bin; RAW_0, RAW_1 are replaced."""
    real = state.dtype.type
    zero, one, two = real(0), real(1), real(2)
    for t in range(TILE):
        width, left, height, bottom, d0, d1, x = _bin(state, t, c)
        delta = height / width
        kappa = d0 + d1 - two * delta
        if inverse:
            theta = _theta(state, x - bottom, height, delta, d0, kappa)
        else:
            theta = (x - left) / width
        theta = _clip(theta, zero, one)
        rest = one - theta
        product = theta * rest
        balance = one - two * product
        reciprocal = one / (delta + kappa * product)
        numerator = d1 * theta * theta + two * delta * product + d0 * rest * rest
        over = one / numerator
        # rise = (value above the bottom) / height, and its partial derivatives times height
        rise = theta * (delta * theta + d0 * rest) * reciprocal
        rise_theta = height * delta * numerator * reciprocal * reciprocal
        rise_delta = height * (theta * theta - rise * balance) * reciprocal
        rise_d0 = height * product * (one - rise) * reciprocal
        rise_d1 = -height * product * rise * reciprocal
        # partial derivatives of log = 2 log(delta / denominator) + log(numerator)
        log_theta = two * (
            (d1 * theta + delta * (rest - theta) - d0 * rest) * over - kappa * (rest - theta) * reciprocal
        )
        log_delta = two * (one / delta - balance * reciprocal + product * over)
        log_d0 = rest * rest * over - two * product * reciprocal
        log_d1 = theta * theta * over - two * product * reciprocal

        inside = abs(state[X + t]) < c[BOUND]
        along = state[GRAD_Y + t] if inside else zero
        grad_log = state[GRAD_LOG + t] if inside else zero
        if inverse:
            # theta is defined by height * rise(theta, ...) = x - bottom; `pull` is the gradient of x - bottom
            grad_log = -grad_log
            pull = (along * width + grad_log * log_theta) / rise_theta
            grad_left, grad_width = along, along * theta
            grad_rise, grad_x = -pull, pull
            grad_bottom = -pull
        else:
            pull = (along * rise_theta + grad_log * log_theta) / width
            grad_left, grad_width = -pull, -pull * theta
            grad_rise, grad_x = along, pull
            grad_bottom = along
        grad_delta = grad_rise * rise_delta + grad_log * log_delta
        grad_d0 = grad_rise * rise_d0 + grad_log * log_d0
        grad_d1 = grad_rise * rise_d1 + grad_log * log_d1
        state[GRAD_LEFT + t] = grad_left
        state[GRAD_WIDTH + t] = grad_width - grad_delta * delta / width
        state[GRAD_BOTTOM + t] = grad_bottom
        state[GRAD_HEIGHT + t] = grad_rise * rise + grad_delta / width
        state[GRAD_X + t] = grad_x if inside else state[GRAD_Y + t]
        state[RAW_0 + t] = grad_d0 * _slope_factor(state[RAW_0 + t] + c[OFFSET], one, zero)
        state[RAW_1 + t] = grad_d1 * _slope_factor(state[RAW_1 + t] + c[OFFSET], one, zero)


@inline
def _spread(shares: Any, bins: Any, state: Any, rows: tuple[int, int, int, int, int], free: Any) -> None:
    """Gradients of the raw rows from those of the bin's lower edge and size: backward of the softmax."""
    edge, size, share, below, scale = rows
    real = state.dtype.type
    zero = real(0)
    for t in range(TILE):
        grad_edge, grad_size, number = state[edge + t], state[size + t], state[BIN + t]
        mean = grad_edge * state[below + t] + grad_size * state[share + t]
        factor = state[scale + t] * free
        for k in range(len(bins)):
            upstream = grad_size if number == real(k) else (grad_edge if number > real(k) else zero)
            shares[k * TILE + t] *= factor * (upstream - mean)


@kernel
def backward(
    x: Any,
    parameters: Any,
    grad_y: Any,
    grad_log: Any,
    grad_x: Any,
    grad_parameters: Any,
    c: Any,
    bins: Any,
    inverse: bool,
    first: int,
    last: int,
) -> None:
    """Gradients of the elements of tiles first ... last - 1; the arguments are flat as in `forward`."""
    shares = np.empty(2 * len(bins) * TILE, x.dtype)
    state = np.empty(N_ROWS * TILE, x.dtype)
    for tile in range(first, last):
        start = tile * TILE
        count = min(TILE, x.size - start)
        _load(parameters, x, start, count, bins, shares, state)
        for t in range(count):
            state[GRAD_Y + t] = grad_y[start + t]
            state[GRAD_LOG + t] = grad_log[start + t]
        for t in range(count, TILE):
            state[GRAD_Y + t] = 0
            state[GRAD_LOG + t] = 0
        locate(shares, bins, state, c, inverse)
        _load_slopes(parameters, start, count, bins, state)
        differentiate(state, c, inverse)
        widths, heights = shares[: len(bins) * TILE], shares[len(bins) * TILE :]
        _spread(widths, bins, state, (GRAD_LEFT, GRAD_WIDTH, SHARE_W, BELOW_W, SCALE_W), c[FREE_W])
        _spread(heights, bins, state, (GRAD_BOTTOM, GRAD_HEIGHT, SHARE_H, BELOW_H, SCALE_H), c[FREE_H])
        _store(grad_parameters, grad_x, start, count, bins, shares, state)


@kernel
def _store(grad_parameters: Any, grad_x: Any, start: int, count: int, bins: Any, shares: Any, state: Any) -> None:
    """Transpose a tile's gradients back; of the slopes only the bin's two have one."""
    zero = state.dtype.type(0)
    stride = 3 * len(bins) - 1
    for t in range(count):
        grad_x[start + t] = state[GRAD_X + t]
        element = grad_parameters[(start + t) * stride : (start + t + 1) * stride]
        for k in range(2 * len(bins)):
            element[k] = shares[k * TILE + t]
        for k in range(2 * len(bins), stride):
            element[k] = zero
        number = int(state[BIN + t])
        if number > 0:
            element[2 * len(bins) + number - 1] = state[RAW_0 + t]
        if number < len(bins) - 1:
            element[2 * len(bins) + number] = state[RAW_1 + t]
