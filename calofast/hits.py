"""Numbers of hits, that is of lit voxels, in each layer: what Flow I may learn beside the energies.

A flow makes single voxels somewhat too often dark or lit, which smears how many are lit: most minimum-ionising pions
light two cells of a layer, and few three. A number that Flow I draws is one dimension, which its splines resolve, and
Flow II is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hepflows.draws import uniform_like

if TYPE_CHECKING:
    from torch import Tensor


def dequantised_hits(voxels_mev: Tensor, threshold_mev: float, members: Tensor, noise: Tensor | None = None) -> Tensor:
    """Number of lit voxels of each layer plus a uniform number in [0, 1), shape (N, L).

    Args:
        voxels_mev: shape (N, V).
        threshold_mev: from which voxels are lit.
        members: 1 where a voxel belongs to a layer, shape (V, L).
        noise: the uniform numbers, shape (N, L); None draws them from torch's generator.
    """
    numbers = (voxels_mev >= threshold_mev).to(voxels_mev) @ members
    spread = numbers + (uniform_like(numbers) if noise is None else noise)
    return torch.minimum(spread, torch.nextafter(numbers + 1, numbers))  # float32 would round some up to the next


def whole_hits(dequantised: Tensor, members: Tensor) -> Tensor:
    """The numbers (N, L) themselves, from none to all voxels of a layer; portable operators only."""
    limited = torch.minimum(dequantised.clamp_min(0.0), members.sum(0))
    return limited.long().to(dequantised)
