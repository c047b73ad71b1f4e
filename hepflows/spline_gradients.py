"""Numba kernels of the rational-quadratic spline's analytic gradients, on the tiles of `spline_kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np

from hepflows.kernel import inline, kernel
from hepflows.spline_kernels import (
    BELOW_H,
    BELOW_W,
    BIN,
    BOUND,
    FREE_H,
    FREE_W,
    GRAD_BOTTOM,
    GRAD_HEIGHT,
    GRAD_LEFT,
    GRAD_LOG,
    GRAD_WIDTH,
    GRAD_X,
    GRAD_Y,
    N_ROWS,
    OFFSET,
    RAW_0,
    RAW_1,
    SCALE_H,
    SCALE_W,
    SHARE_H,
    SHARE_W,
    TILE,
    X,
    bin_of,
    clip,
    load_slopes,
    load_tile,
    locate,
    theta_of,
)
from hepflows.vector_math import exponential


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
        width, left, height, bottom, d0, d1, x = bin_of(state, t, c)
        delta = height / width
        kappa = d0 + d1 - two * delta
        position = theta_of(state, x - bottom, height, delta, d0, kappa) if inverse else (x - left) / width
        theta = clip(position, zero, one)
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
def gradient_of_shares(
    shares: Any, bins: Any, state: Any, rows: tuple[int, int, int, int, int], free: Any, out: Any
) -> None:
    """Gradients of the raw rows from those of the bin's lower edge and size: backward of the softmax.

    Args:
        shares: exponentials, shape (K, TILE), flat.
        bins: tuple of K zeros.
        state: rows of the tile.
        rows: the rows of `state` with gradients of the bin's lower edge and size, its share, that of the bins below,
            and the reciprocal sum of the exponentials.
        free: what the softmax distributes.
        out: shape (K, TILE), flat, written; another array than `shares`, or the loop would not be vectorised.
    """
    edge, size, share, below, scale = rows
    real = state.dtype.type
    zero = real(0)
    for t in range(TILE):
        grad_edge, grad_size, number = state[edge + t], state[size + t], state[BIN + t]
        mean = grad_edge * state[below + t] + grad_size * state[share + t]
        factor = state[scale + t] * free
        for k in range(len(bins)):
            upstream = grad_size if number == real(k) else (grad_edge if number > real(k) else zero)
            out[k * TILE + t] = shares[k * TILE + t] * (factor * (upstream - mean))


@kernel
def gradient_of_slopes(out: Any, bins: Any, state: Any) -> None:
    """Gradients of the raw slopes, shape (K - 1, TILE), flat: only those at the two knots of the bin have one."""
    real = state.dtype.type
    zero = real(0)
    for k in range(len(bins) - 1):
        for t in range(TILE):
            number = state[BIN + t]
            lower = state[RAW_0 + t] if number == real(k + 1) else zero
            out[k * TILE + t] = state[RAW_1 + t] if number == real(k) else lower


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
    shares, found = np.empty(2 * len(bins) * TILE, x.dtype), np.empty(2 * len(bins) * TILE, x.dtype)
    state = np.empty(N_ROWS * TILE, x.dtype)
    for tile in range(first, last):
        start = tile * TILE
        count = min(TILE, x.size - start)
        load_tile(parameters, x, start, count, bins, shares, state)
        for t in range(count):
            state[GRAD_Y + t] = grad_y[start + t]
            state[GRAD_LOG + t] = grad_log[start + t]
        for t in range(count, TILE):
            state[GRAD_Y + t] = 0
            state[GRAD_LOG + t] = 0
        locate(shares, bins, state, c, inverse, TILE)
        load_slopes(parameters, start, count, bins, state)
        differentiate(state, c, inverse)
        widths, heights = shares[: len(bins) * TILE], shares[len(bins) * TILE :]
        edges = (GRAD_LEFT, GRAD_WIDTH, SHARE_W, BELOW_W, SCALE_W)
        gradient_of_shares(widths, bins, state, edges, c[FREE_W], found[: len(bins) * TILE])
        edges = (GRAD_BOTTOM, GRAD_HEIGHT, SHARE_H, BELOW_H, SCALE_H)
        gradient_of_shares(heights, bins, state, edges, c[FREE_H], found[len(bins) * TILE :])
        _store(grad_parameters, grad_x, start, count, bins, found, state)


@kernel
def _store(grad_parameters: Any, grad_x: Any, start: int, count: int, bins: Any, found: Any, state: Any) -> None:
    """Transpose a tile's gradients back; of the slopes only the bin's two have one."""
    zero = state.dtype.type(0)
    stride = 3 * len(bins) - 1
    for t in range(count):
        grad_x[start + t] = state[GRAD_X + t]
        element = grad_parameters[(start + t) * stride : (start + t + 1) * stride]
        for k in range(2 * len(bins)):
            element[k] = found[k * TILE + t]
        for k in range(2 * len(bins), stride):
            element[k] = zero
        number = int(state[BIN + t])
        if number > 0:
            element[2 * len(bins) + number - 1] = state[RAW_0 + t]
        if number < len(bins) - 1:
            element[2 * len(bins) + number] = state[RAW_1 + t]
