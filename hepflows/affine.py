"""Affine coupling, the simplest one: one half of the features is scaled and shifted given the other.

Dinh et al., "Density estimation using Real NVP", arXiv:1605.08803. Kept beside the splines for studies of what
they gain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hepflows.conditioner import ResidualMLP
from hepflows.errors import ConfigError
from hepflows.precision import rounded_on_accelerator

if TYPE_CHECKING:
    from torch import Tensor


class AffineCoupling(nn.Module):
    """The first half of the features passes unchanged; the second becomes x exp(s) + t with s, t given the first.

    Args:
        features: number of features D, at least 2; the first D // 2 stay.
        context_features: number of context inputs, 0 for none.
        width: units of the conditioner's layers.
        blocks: residual blocks of the conditioner.
        dropout: dropout inside the residual blocks.
        batch_norm: batch normalisation there.
        bound: |s| stays below it (a hyperbolic tangent), so that no block can run away.
    """

    def __init__(
        self,
        features: int,
        context_features: int,
        *,
        width: int,
        blocks: int = 2,
        dropout: float = 0.0,
        batch_norm: bool = False,
        bound: float = 3.0,
    ) -> None:
        super().__init__()
        if features < 2:
            raise ConfigError("a coupling block needs at least two features", found=features)
        self.kept, self.bound = features // 2, bound
        self.moved = features - self.kept
        inputs = self.kept + context_features
        self.conditioner = ResidualMLP(
            inputs, 2 * self.moved, width=width, blocks=blocks, dropout=dropout, batch_norm=batch_norm
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent: (N, D) to (N, D) and log |dz/dx| of shape (N,)."""
        kept, moved, log_scale, shift = self._parts(x, context)
        return torch.cat([kept, moved * log_scale.exp() + shift], dim=-1), log_scale.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent to data: (N, D) to (N, D) and log |dx/dz| of shape (N,)."""
        kept, moved, log_scale, shift = self._parts(z, context)
        return torch.cat([kept, (moved - shift) * (-log_scale).exp()], dim=-1), -log_scale.sum(-1)

    def _parts(self, v: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kept, moved = v[:, : self.kept], v[:, self.kept :]
        known = kept if context is None else torch.cat([kept, context], dim=-1)
        raw, shift = rounded_on_accelerator(lambda: self.conditioner(known), v).split(self.moved, dim=-1)
        return kept, moved, self.bound * torch.tanh(raw / self.bound), shift
