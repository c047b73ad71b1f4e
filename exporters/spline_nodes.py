"""One rational-quadratic spline a row of events as ONNX nodes, without its derivative.

The arithmetic is that of `hepflows.spline_value` (Durkan et al., arXiv:1906.04032, equations 4-8), for tensors whose
last axis is the event: parameters (3 K - 1, N), so that every operator runs along contiguous events. Bins are found by
comparison; the numbers of the bin an argument lies in are picked by a product with a 0/1 mask and a sum, which are
exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepflows.splines import identity_slope

if TYPE_CHECKING:
    from exporters.nodes import Nodes
    from hepflows.splines import SplineSettings

_FLOAT = 1  # onnx.TensorProto.FLOAT


@dataclass(frozen=True, kw_only=True)
class Row:
    """Names of a dimension's arguments, each of shape (1, N).

    Attributes:
        x: the argument.
        inner: the argument moved into [-bound, bound].
        outside: whether it lies in the tails.
    """

    x: str
    inner: str
    outside: str


@dataclass(frozen=True, kw_only=True)
class _Bin:
    """Names of the numbers of the bin that an argument lies in, each of shape (1, N)."""

    width: str
    height: str
    left: str
    bottom: str
    d0: str
    d1: str
    delta: str
    curvature: str


def spline_value(g: Nodes, row: Row, raw: str, spline: SplineSettings, *, inverse: bool) -> str:
    """Append the spline with raw parameters (3 K - 1, N) and return the name of its value, shape (1, N)."""
    here = _bin(g, row.inner, raw, spline, inverse=inverse)
    value = _inverse(g, row.inner, here) if inverse else _forward(g, row.inner, here)
    return g.add("Where", row.outside, row.x, value)


def _bin(g: Nodes, inner: str, raw: str, spline: SplineSettings, *, inverse: bool) -> _Bin:
    bins, span = spline.bins, 2 * spline.bound
    minima = (spline.min_width, spline.min_height)
    scale = np.repeat([span * (1 - bins * minimum) for minimum in minima], bins)
    sizes, *slopes = g.split(raw, [2 * bins, bins - 1] if bins > 1 else [2 * bins])
    shares = g.add("Reshape", sizes, g.integers([2, bins, -1]))
    shares = g.add("Softmax", shares, axis=1)
    shares = g.add("Reshape", shares, g.integers([2 * bins, -1]))
    below = np.kron(np.eye(2), np.tril(np.ones((bins, bins)), -1)) * scale[:, None]
    start = np.concatenate([np.arange(bins) * span * minimum - spline.bound for minimum in minima])
    edges = g.add("Add", g.add("MatMul", g.floats(below), shares), g.floats(start[:, None]))
    first = bins if inverse else 0
    searched = g.add("Slice", edges, g.integers([first]), g.integers([first + bins]), g.integers([0]))
    passed = g.add("Cast", g.add("GreaterOrEqual", inner, searched), to=_FLOAT)

    # Which of the rows below belong to the bin: it is the last whose lower edge is passed.
    in_bin = np.eye(bins) - np.eye(bins, k=1)
    masks, rows = [in_bin] * 4, [shares, edges]
    if slopes:
        # The outer knots have no raw slope: theirs is 0, that is derivative 1.
        masks += [in_bin[1:], in_bin[:-1]]
        rows += slopes * 2
    mask = g.add("MatMul", g.floats(np.concatenate(masks)), passed)
    picked = g.add("Mul", g.add("Concat", *rows, axis=0), mask)
    summed = np.zeros((6, sum(len(part) for part in masks)))
    column = 0
    for number, part in enumerate(masks):
        factor = scale[number * bins] if number < 2 else 1.0
        summed[number, column : column + len(part)] = factor
        column += len(part)
    offsets = np.array([span * minima[0], span * minima[1], 0, 0, identity_slope(spline), identity_slope(spline)])
    numbers = g.add("Add", g.add("MatMul", g.floats(summed), picked), g.floats(offsets[:, None]))
    width, height, left, bottom, slope = g.split(numbers, [1, 1, 1, 1, 2])
    slope = g.add("Add", g.add("Softplus", slope), g.floats(spline.min_derivative))
    d0, d1 = g.split(slope, [1, 1])
    delta = g.add("Div", height, width)
    curvature = g.add("Sub", g.add("Add", d0, d1), g.add("Add", delta, delta))
    return _Bin(width=width, height=height, left=left, bottom=bottom, d0=d0, d1=d1, delta=delta, curvature=curvature)


def _inverse(g: Nodes, inner: str, here: _Bin) -> str:
    """Equations 6-8, with the root that does not cancel."""
    above = g.add("Sub", inner, here.bottom)
    bent = g.add("Mul", above, here.curvature)
    a = g.add("Add", bent, g.add("Mul", here.height, g.add("Sub", here.delta, here.d0)))
    minus_b = g.add("Sub", bent, g.add("Mul", here.height, here.d0))
    minus_c = g.add("Mul", here.delta, above)
    product = g.add("Mul", g.add("Mul", a, minus_c), g.floats(4.0))
    square = g.add("Add", g.add("Mul", minus_b, minus_b), product)
    root = g.add("Sqrt", g.add("Max", square, g.floats(1e-30)))
    half_theta = g.add("Div", minus_c, g.add("Sub", root, minus_b))
    half_theta = g.add("Clip", half_theta, g.floats(0.0), g.floats(0.5))
    return g.add("Add", here.left, g.add("Mul", g.add("Add", half_theta, half_theta), here.width))


def _forward(g: Nodes, inner: str, here: _Bin) -> str:
    """Equation 4."""
    theta = g.add("Div", g.add("Sub", inner, here.left), here.width)
    theta = g.add("Clip", theta, g.floats(0.0), g.floats(1.0))
    rest = g.add("Sub", g.floats(1.0), theta)
    rise = g.add("Add", g.add("Mul", here.d0, rest), g.add("Mul", here.delta, theta))
    rise = g.add("Mul", here.height, g.add("Mul", theta, rise))
    turn = g.add("Mul", here.curvature, g.add("Mul", theta, rest))
    return g.add("Add", here.bottom, g.add("Div", rise, g.add("Add", here.delta, turn)))
