"""Functions that exported graphs need in terms of operators that every host has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = 80.0  # of sinh's argument: finite in float32
_TERMS = 9  # of its Taylor series: 1e-17 at |x| = 1


def sinh(x: Tensor) -> Tensor:
    """Hyperbolic sine with full relative accuracy; arguments beyond 80 are taken as 80."""
    near = x.clamp(-1.0, 1.0)
    square = near * near
    series = torch.ones_like(x)
    for term in range(_TERMS - 1, 0, -1):
        series = 1 + series * square * (1 / (2 * term * (2 * term + 1)))
    grown = x.abs().clamp(1.0, _LARGEST).exp()
    far = 0.5 * (grown - 1 / grown) * x.sign()
    return torch.where(x.abs() < 1, near * series, far)


def slot_numbers(n_slots: int, like: Tensor) -> Tensor:
    """0 ... P - 1, shape (P,), as constants of a graph (a range would be an operator of its own)."""
    return torch.tensor([float(slot) for slot in range(n_slots)], dtype=like.dtype, device=like.device)


def sorted_by_pt(eta: Tensor, phi: Tensor, pt: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Put constituents in falling order of pT, empty slots last, all (N, P); equal ones keep their order.

    The rank of a constituent is the number of those before it; a product with the permutation's matrix moves it.
    """
    zero = torch.zeros_like(pt)
    key = torch.where(mask, pt, zero - 1)
    slots = slot_numbers(int(pt.shape[1]), pt)
    ahead = key.unsqueeze(1) > key.unsqueeze(2)
    tied = (key.unsqueeze(1) == key.unsqueeze(2)) & (slots[None, :] < slots[:, None])
    rank = (ahead | tied).to(pt.dtype).sum(2)
    matrix = (rank.unsqueeze(1) == slots[:, None]).to(pt.dtype)
    values = torch.stack([torch.where(mask, v, zero) for v in (eta, phi, pt, torch.ones_like(pt))], dim=2)
    moved = matrix @ values
    return moved[:, :, 0], moved[:, :, 1], moved[:, :, 2], moved[:, :, 3] > 0.5
