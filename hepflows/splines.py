"""Monotone rational-quadratic splines with linear tails.

Durkan et al., "Neural Spline Flows", arXiv:1906.04032, equations 4-8. One code trains, samples and exports: bins
are found by comparisons, values picked by one-hot sums, cumulative sums are products with a constant triangular
matrix, and nothing depends on the data by indexing, so that the graph consists of portable operators only.

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
from hepflows.plain import is_plain

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
    bins, bound = settings.bins, settings.bound
    widths = F.softmax(parameters[..., :bins], dim=-1)
    heights = F.softmax(parameters[..., bins : 2 * bins], dim=-1)
    slopes = parameters[..., 2 * bins :]

    inside = (x > -bound) & (x < bound)
    x_clamped = x.clamp(-bound, bound)

    searched, minimum = (heights, settings.min_height) if inverse else (widths, settings.min_width)
    passed = (x_clamped.unsqueeze(-1) >= _interior_knots(searched, minimum, settings)).to(x.dtype)
    zeros = torch.zeros_like(x).unsqueeze(-1)
    ones = torch.ones_like(zeros)
    in_bin = torch.cat([ones, passed], dim=-1) - torch.cat([passed, zeros], dim=-1)

    width, left = _bin(widths, in_bin, passed, settings.min_width, settings)
    height, bottom = _bin(heights, in_bin, passed, settings.min_height, settings)
    # The outer knots carry raw slope 0, that is derivative 1: they are left out of the sums.
    d0 = _derivative((slopes * in_bin[..., 1:]).sum(-1), settings)
    d1 = _derivative((slopes * in_bin[..., :-1]).sum(-1), settings)

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


def _interior_knots(shares: Tensor, minimum: float, settings: SplineSettings) -> Tensor:
    """Positions of the K - 1 interior knots, shape (..., K - 1)."""
    bins, span = settings.bins, 2 * settings.bound
    triangle = torch.ones(bins - 1, bins, dtype=shares.dtype, device=shares.device).tril()
    steps = torch.arange(1, bins, dtype=shares.dtype, device=shares.device)
    return F.linear(shares, triangle * (span * (1 - bins * minimum)), steps * (span * minimum) - settings.bound)


def _bin(
    shares: Tensor, in_bin: Tensor, passed: Tensor, minimum: float, settings: SplineSettings
) -> tuple[Tensor, Tensor]:
    """Size and lower edge of the bin that one-hot `in_bin` marks, both of shape (...)."""
    span, free = 2 * settings.bound, 1 - settings.bins * minimum
    size = (shares * in_bin).sum(-1) * (span * free) + span * minimum
    below = (shares[..., :-1] * passed).sum(-1) * (span * free) + passed.sum(-1) * (span * minimum)
    return size, below - settings.bound


def _derivative(raw: Tensor, settings: SplineSettings) -> Tensor:
    return settings.min_derivative + F.softplus(raw + identity_slope(settings))


def identity_slope(settings: SplineSettings) -> float:
    """The offset c with min_derivative + softplus(c) = 1."""
    return math.log(math.expm1(1 - settings.min_derivative))
