"""Autoregressive spline transformations: fast density (MAF) or fast sampling (IAF), both exact in both directions.

Papamakarios et al., arXiv:1705.07057 (MAF); Kingma et al., arXiv:1606.04934 (IAF). Both classes use the same spline
direction: their network's raw outputs describe the map from data x to latent z. So a student IAF can be matched to
a teacher MAF parameter by parameter (CaloFlow II, arXiv:2110.11377).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from hepflows.incremental import is_separable, solve, transform
from hepflows.made import MADE, Degrees
from hepflows.splines import SplineSettings, rational_quadratic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class _AutoregressiveSpline(nn.Module):
    """What MAF and IAF share: a masked network that gives the splines' parameters."""

    def __init__(
        self,
        features: int,
        context_features: int,
        hidden: Sequence[int],
        spline: SplineSettings,
        *,
        degrees: Degrees = "even",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.spline = spline
        self.made = MADE(features, context_features, hidden, spline.n_parameters, degrees=degrees, dropout=dropout)

    def is_separable(self, v: Tensor, context: Tensor | None) -> bool:
        """Whether each sample is evaluated as if it were alone, by the CPU kernels."""
        return is_separable(self.made, v, context)


class MaskedAutoregressive(_AutoregressiveSpline):
    """MAF: z_d = spline(x_d; network(x_<d, context)); density in one pass."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent: (N, D) to (N, D) and log |dz/dx| of shape (N,)."""
        return transform(self.made, x, context, self.spline, inverse=False)

    def forward_traced(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`, with the raw spline parameters (N, D, P) beside."""
        raw = self.made(x, context)
        z, log_det = rational_quadratic(x, raw, self.spline)
        return z, log_det.sum(-1), raw

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent to data, exact: (N, D) to (N, D) and log |dx/dz| of shape (N,)."""
        return solve(self.made, z, context, self.spline, inverse=True)


class InverseAutoregressive(_AutoregressiveSpline):
    """IAF: x_d = spline^-1(z_d; network(z_<d, context)); sampling in one pass."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent, exact: (N, D) to (N, D) and log |dz/dx| of shape (N,)."""
        return solve(self.made, x, context, self.spline, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent to data: (N, D) to (N, D) and log |dx/dz| of shape (N,)."""
        return transform(self.made, z, context, self.spline, inverse=True)

    def inverse_traced(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """As `inverse`, with the raw spline parameters (N, D, P) beside."""
        raw = self.made(z, context)
        x, log_det = rational_quadratic(z, raw, self.spline, inverse=True)
        return x, log_det.sum(-1), raw
