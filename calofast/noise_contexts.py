"""Contexts for the noise of a distillation: conditions of the data, low energies preferred if wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from calofast.caloflow import CaloFlowModel


@torch.no_grad()
def draw_contexts(model: CaloFlowModel, conditions: Tensor, n: int, *, low_energies: float = 0.0) -> Tensor:
    """Contexts of Flow II for L_z: conditions of showers drawn from the data, totals of the layers by Flow I.

    (The published pion student drew energies uniformly and hardly saw the low ones.)

    Args:
        model: whose Flow I samples.
        conditions: of the showers, shape (N, C), incident energies [GeV] first.
        n: how many.
        low_energies: see `draw_rows`.

    Returns:
        Shape (n, C + F).
    """
    chosen = conditions[draw_rows(conditions[:, 0], n, low_energies)]
    noise = torch.randn(n, model.n_totals, device=conditions.device)
    parts = zip(noise.split(4096), chosen.split(4096), strict=True)
    return torch.cat([model.context(cond, model.sample_layers(z, cond)) for z, cond in parts])


def draw_rows(energies: Tensor, n: int, low_energies: float) -> Tensor:
    """Indices of n showers, drawn with replacement and a probability in proportion to energy^-low_energies.

    Args:
        energies: incident energies, positive, shape (N,), in any unit.
        n: how many.
        low_energies: 0 draws all alike, 1 makes uniform energies log-uniform.
    """
    if low_energies == 0:
        return torch.randint(len(energies), (n,), device=energies.device)
    # torch.multinomial ends at 2^24 showers, a sum in float64 does not
    reached = (energies.double() / energies.max()).pow(-low_energies).cumsum(0)
    drawn = torch.rand(n, dtype=reached.dtype, device=reached.device) * reached[-1]
    return torch.searchsorted(reached, drawn, right=True).clamp(max=len(energies) - 1)
