"""Bipartite spline coupling: one half of the features is transformed given the other, fast in both directions.

Dinh et al., arXiv:1605.08803, with the splines of arXiv:1906.04032.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hepflows.conditioner import ResidualMLP
from hepflows.conditioner_layers import can_fuse, residual_layers
from hepflows.errors import ConfigError
from hepflows.local import LocalTerms
from hepflows.permutations import Permutation, shuffle
from hepflows.plain import is_inference
from hepflows.precision import rounded_on_accelerator
from hepflows.splines import SplineSettings, rational_quadratic

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class SplineCoupling(nn.Module):
    """The first half of the features passes unchanged and conditions the splines of the second half.

    Args:
        features: number of features D, at least 2; the first D // 2 stay.
        context_features: number of context inputs, 0 for none.
        spline: shape of the splines.
        width: units of the conditioner's layers.
        blocks: residual blocks of the conditioner.
        dropout: dropout inside the residual blocks.
        batch_norm: batch normalisation there, at the price of the fused kernels.
        neighbours: for each feature of the second half the places of its neighbours among the conditioner's inputs,
            which are the first half and then the context, shape (D - D // 2, K); their values add to the splines'
            parameters linearly. None: none.
    """

    def __init__(
        self,
        features: int,
        context_features: int,
        spline: SplineSettings,
        *,
        width: int,
        blocks: int = 2,
        dropout: float = 0.0,
        batch_norm: bool = False,
        neighbours: Tensor | None = None,
    ) -> None:
        super().__init__()
        if features < 2:
            raise ConfigError("a coupling block needs at least two features", found=features)
        self.kept, self.spline, self.dropout = features // 2, spline, dropout
        self.moved = features - self.kept
        self.conditioner = ResidualMLP(
            self.kept + context_features,
            self.moved * spline.n_parameters,
            width=width,
            blocks=blocks,
            dropout=dropout,
            batch_norm=batch_norm,
        )
        self.local: LocalTerms | None = None
        if neighbours is not None:
            self.local = LocalTerms(neighbours, self.kept + context_features, spline.n_parameters)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent: (N, D) to (N, D) and log |dz/dx| of shape (N,)."""
        return self._transform(x, context, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent to data: (N, D) to (N, D) and log |dx/dz| of shape (N,)."""
        return self._transform(z, context, inverse=True)

    def is_separable(self, v: Tensor, context: Tensor | None) -> bool:
        """Whether each sample is evaluated as if it were alone, by the CPU kernels."""
        given = [v] if context is None else [v, context]
        known = not self.conditioner.batch_norm and not (self.training and self.dropout)
        return known and is_inference(self.conditioner, *given)

    def _transform(self, v: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
        if self.is_separable(v, context):
            from hepflows.coupling_numba import couple

            return couple(self.conditioner, v, context, self.spline, inverse=inverse, local=self.local)
        given = [v] if context is None else [v, context]
        kept, moved = v[:, : self.kept], v[:, self.kept :]
        known = kept if context is None else torch.cat([kept, context], dim=-1)
        if not self.conditioner.batch_norm and can_fuse(self.conditioner, *given):
            from hepflows.fused_conditioner import conditioned_spline

            layers = residual_layers(self.conditioner, outputs_a_feature=self.spline.n_parameters)
            moved, total = conditioned_spline(layers, known, moved, self.spline, inverse=inverse, local=self.local)
            return torch.cat([kept, moved], dim=-1), total
        raw = rounded_on_accelerator(lambda: self.conditioner.grouped(known, self.moved), v)
        if self.local is not None:
            raw = raw + self.local(known)
        moved, log_det = rational_quadratic(moved, raw, self.spline, inverse=inverse)
        return torch.cat([kept, moved], dim=-1), log_det.sum(-1)


def coupling_blocks(
    features: int, make: Callable[[], nn.Module], *, blocks: int, generator: torch.Generator
) -> list[nn.Module]:
    """Alternate couplings and permutations.

    Args:
        features: number of features D.
        make: makes one coupling of D features.
        blocks: couplings, two at least, so that every feature is transformed.
        generator: of the random permutations.
    """
    if blocks < 2:
        raise ConfigError("a coupling flow needs at least two blocks", found=blocks)
    transforms = [make()]
    for block in range(1, blocks):
        transforms += [Permutation(_order(features, block, generator)), make()]
    return transforms


def _order(features: int, block: int, generator: torch.Generator) -> Tensor:
    """Odd blocks exchange the halves, even ones shuffle all features: each pair of blocks moves every feature."""
    return torch.arange(features).roll(-(features // 2)) if block % 2 else shuffle(features, generator)
