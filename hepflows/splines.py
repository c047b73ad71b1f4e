"""Monotone rational-quadratic splines with linear tails.

Durkan et al., "Neural Spline Flows", arXiv:1906.04032, equations 4-8. One code trains, samples and exports: bins
are found by comparisons, values picked by one-hot sums, cumulative sums are products with a constant matrix, and
nothing depends on the data by indexing, so that the graph consists of portable operators only.

The parametrisation makes zero parameters the identity: softmax(0) gives equal bins, and interior derivatives are
``min_derivative + softplus(p + c)`` with c such that p = 0 gives 1, the slope of the tails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.errors import ConfigError
from hepflows.plain import is_exported, is_plain, is_recorded

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SplineSettings:
    """Shape of a spline.

    Attributes:
        bins: number of bins K.
        bound: the spline acts on [-bound, bound]; outside it is the identity.
        min_width: smallest bin width as a share of the interval.
        min_height: smallest bin height as a share of the interval.
        min_derivative: smallest derivative at an interior knot.
    """

    bins: int = 8
    bound: float = 14.0
    min_width: float = 1e-6
    min_height: float = 1e-6
    min_derivative: float = 1e-6

    def __post_init__(self) -> None:
        if self.bins < 1 or self.bound <= 0:
            raise ConfigError("a spline needs at least one bin and a positive bound", found=self)
        if max(self.min_width, self.min_height) * self.bins >= 1:
            raise ConfigError("minimal bin sizes leave no room", expected="min_width * bins < 1", found=self)
        if not 0 < self.min_derivative < 1:
            raise ConfigError("the minimal derivative must lie in (0, 1)", found=self.min_derivative)

    @property
    def n_parameters(self) -> int:
        """Raw parameters of one scalar spline: K widths, K heights, K - 1 interior derivatives."""
        return 3 * self.bins - 1


def rational_quadratic(
    x: Tensor, parameters: Tensor, settings: SplineSettings, *, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Apply one spline an element.

    Args:
        x: shape (...), arguments.
        parameters: shape (..., 3 K - 1), raw (unbounded) parameters: widths, heights, derivatives.
        settings: shape of the splines.
        inverse: evaluate the inverse function.

    Returns:
        y and log |dy/dx|, both of shape (...).
    """
    if x.numel() >= _FUSED_FROM and x.shape == parameters.shape[:-1] and is_plain(x, parameters):
        from hepflows.fused_spline import fused_rational_quadratic

        return fused_rational_quadratic(x, parameters, settings, inverse=inverse)
    return portable_rational_quadratic(x, parameters, settings, inverse=inverse)


_FUSED_FROM = 256
"""Elements from which the fused kernels are used; a tile of 256 events is always above, whatever its width."""


def portable_rational_quadratic(
    x: Tensor, parameters: Tensor, settings: SplineSettings, *, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """`rational_quadratic` in portable torch operators, for export, GPUs and as the fused kernels' test oracle.

    Arguments and results as there.
    """
    if x.ndim == 0:
        y, log_derivative = portable_rational_quadratic(x[None], parameters[None], settings, inverse=inverse)
        return y[0], log_derivative[0]
    bound = settings.bound
    inside = (x > -bound) & (x < bound)
    x_clamped = x.clamp(-bound, bound)
    (width, height), (left, bottom), (d0, d1) = _picked(x_clamped, parameters, settings, inverse=inverse)
    delta = height / width
    curvature = d0 + d1 - 2 * delta
    if inverse:
        above = x_clamped - bottom
        a = above * curvature + height * (delta - d0)
        b = height * d0 - above * curvature
        c = -delta * above
        root = (b * b - 4 * a * c).clamp_min(1e-30).sqrt()
        theta = (2 * c / (-b - root)).clamp(0.0, 1.0)
        y = left + theta * width
    else:
        theta = ((x_clamped - left) / width).clamp(0.0, 1.0)
        y = bottom + height * theta * (delta * theta + d0 * (1 - theta)) / (delta + curvature * theta * (1 - theta))
    rest = 1 - theta
    denominator = delta + curvature * theta * rest
    numerator = d1 * theta * theta + 2 * delta * theta * rest + d0 * rest * rest
    log_derivative = 2 * (delta.log() - denominator.log()) + numerator.log()
    if inverse:
        log_derivative = -log_derivative
    return torch.where(inside, y, x), torch.where(inside, log_derivative, torch.zeros_like(x))


def _picked(
    x: Tensor, parameters: Tensor, settings: SplineSettings, *, inverse: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Width and height, left and lower edge, left and right slope of the bins that x lies in, each of shape (..., D).

    The axis of the D splines is last, so that a runtime's loops are long whatever the number of bins.

    Args:
        x: shape (..., D), inside of the bound.
        parameters: shape (..., D, 3 K - 1).
        settings: shape of the splines.
        inverse: x are values, not arguments.
    """
    bins, like = settings.bins, parameters
    planes = parameters.transpose(-1, -2)
    raw = _paired(planes[..., : 2 * bins, :])
    shares = (raw - raw.detach().amax(-2, keepdim=True)).exp()
    total = shares.sum(-2)
    search = torch.tensor(_search_rows(settings, inverse=inverse), dtype=like.dtype, device=like.device)
    knots = search @ shares.flatten(-3, -2)
    searched = total[..., int(inverse), :] * x
    passed = searched.unsqueeze(-2) >= knots
    above = passed[..., 1:, :]
    in_bin = (passed[..., :-1, :] & ~above).to(x.dtype)
    below = above.to(x.dtype)

    minima = _column([settings.min_width, settings.min_height], like)
    span = 2 * settings.bound
    scale = span * (1 - bins * minima) / total
    sizes = (shares * in_bin.unsqueeze(-3)).sum(-2) * scale + span * minima
    edges = (shares * below.unsqueeze(-3)).sum(-2) * scale + below.sum(-2, keepdim=True) * (span * minima)
    # The outer knots carry raw slope 0, that is derivative 1: they are left out of the sums.
    slopes = planes[..., 2 * bins :, :]
    ends = (torch.zeros_like(x), torch.zeros_like(x))
    if bins > 1:  # ONNX Runtime 1.15 gets sums over nothing wrong
        ends = ((slopes * in_bin[..., 1:, :]).sum(-2), (slopes * in_bin[..., :-1, :]).sum(-2))
    derivatives = settings.min_derivative + _softplus(torch.stack(ends, dim=-2) + identity_slope(settings))
    return sizes.unbind(-2), (edges - settings.bound).unbind(-2), derivatives.unbind(-2)


def _paired(planes: Tensor) -> Tensor:
    """Shape (..., 2 K, D) to (..., 2, K, D)."""
    pair = (2, int(planes.shape[-2]) // 2)
    if is_recorded() and planes.ndim == 3:  # numbers instead of shapes that the graph would compute
        return planes.reshape(-1, *pair, int(planes.shape[-1]))
    result: Tensor = planes.unflatten(-2, pair)
    return result


def _search_rows(settings: SplineSettings, *, inverse: bool) -> list[list[float]]:
    """Matrix (K + 1, 2 K) from unnormalised shares to knots times their sum; the outer two lie beyond any argument."""
    bins, span = settings.bins, 2 * settings.bound
    minimum = settings.min_height if inverse else settings.min_width
    rows = [[-4 * settings.bound] * bins]
    for knot in range(1, bins):
        start = knot * span * minimum - settings.bound
        rows.append([start + (span * (1 - bins * minimum) if k < knot else 0.0) for k in range(bins)])
    rows.append([4 * settings.bound] * bins)
    nothing = [0.0] * bins
    return [[*nothing, *row] if inverse else [*row, *nothing] for row in rows]


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); for large arrays in exported graphs by log(1 + u) = 2 artanh(u / (2 + u)), u = exp(-abs(x)).

    ONNX Runtime's own operator takes one number at a time. Seven terms of the series give 2e-8 of the value.
    """
    if not is_exported() or x.ndim < 3:
        return F.softplus(x)
    u = (-x.abs()).exp()
    s = u / (2 + u)
    square = s * s
    series = torch.full((1,), 2 / (2 * _TERMS - 1), dtype=x.dtype)
    for term in range(2 * _TERMS - 3, 0, -2):
        series = series * square + 2 / term
    return F.relu(x) + s * series


_TERMS = 7


def _column(values: list[float], like: Tensor) -> Tensor:
    """Shape (len(values), 1)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(1)


def identity_slope(settings: SplineSettings) -> float:
    """The offset c with min_derivative + softplus(c) = 1."""
    return math.log(math.expm1(1 - settings.min_derivative))
