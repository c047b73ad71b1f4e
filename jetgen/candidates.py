"""Of several drawn jets, the one whose mass is closest to its condition.

A flow that is told a mass gives jets of nearby masses. Scaling a jet's angles to the exact mass mends a large miss at
the price of its shape: a jet that is too heavy because of one hard constituent gets all of the others wrong. The jets
that the flow gives *at* the mass are what is wanted, q(jet | condition, mass = condition), and the closest of K draws
is one of these but for a residual miss that falls like 1 / K; the constraint removes the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from jetgen.mass_constraint import log_excess
from jetgen.preprocessing import Constituents

if TYPE_CHECKING:
    from torch import Tensor


def repeated(conditions: Tensor, candidates: int) -> Tensor:
    """Conditions (N, C) of N K candidates, those of a jet side by side: (N K, C)."""
    return conditions.unsqueeze(1).expand(-1, candidates, -1).reshape(-1, conditions.shape[1])


def closest_in_mass(jets: Constituents, mass: Tensor, candidates: int) -> Constituents:
    """The candidate of each jet whose mass is off by the smallest factor, the first of equal ones.

    Args:
        jets: N K jets of P slots, the candidates of a jet side by side.
        mass: wanted mass in units of pT, shape (N K,).
        candidates: number K.

    Returns:
        N jets.
    """
    with torch.no_grad():
        miss = log_excess(jets.eta, jets.phi, jets.pt, jets.mask, mass).abs().reshape(-1, candidates)
    filled = jets.mask.to(jets.pt.dtype)  # not every host selects among booleans
    each = [v.reshape(-1, candidates, v.shape[1]) for v in (jets.eta, jets.phi, jets.pt, filled)]
    best, least = [v[:, 0] for v in each], miss[:, :1]
    for k in range(1, candidates):  # an index of the smallest would be an operator that not every host has
        closer = miss[:, k : k + 1] < least
        best = [torch.where(closer, v[:, k], chosen) for v, chosen in zip(each, best, strict=True)]
        least = torch.minimum(least, miss[:, k : k + 1])
    eta, phi, pt, filled = best
    return Constituents(eta, phi, pt, filled > 0.5)
