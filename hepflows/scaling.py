"""Scaling of observables and conditions: logarithm where asked for, then mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_TINY = 1e-30  # what a logarithm takes at least, so that exported graphs give no NaN


class Scaling(nn.Module):
    """Physical numbers (N, D) to standardised ones, y = (t - mean) / std with t = x or log(x).

    Fitted in float64; made of operators that exported graphs may contain.

    Args:
        log: which columns take the logarithm, D entries.
    """

    log: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, log: Sequence[bool]) -> None:
        super().__init__()
        self.register_buffer("log", torch.tensor(list(log), dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(len(log)))
        self.register_buffer("std", torch.ones(len(log)))

    @torch.no_grad()
    def fit(self, *samples: Tensor, floor: float = 0.0) -> None:
        """Learn mean and spread of samples (N, D), each of which counts the same whatever its size.

        Args:
            *samples: positive where a logarithm is taken.
            floor: the spread is not made smaller than this, in the unit of the column or of its logarithm; a column
                without any spread keeps 1.
        """
        parts = [self._logged(sample.double()) for sample in samples]
        mean = torch.stack([part.mean(0) for part in parts]).mean(0)
        variance = torch.stack([((part - mean) ** 2).mean(0) for part in parts]).mean(0)
        spread = variance.sqrt().clamp_min(floor)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shape (N, D) to (N, D) and log |dy/dx| of shape (N,)."""
        t = self._logged(x)
        own = torch.where(self.log, t, torch.zeros_like(t))
        return (t - self.mean) / self.std, -(own + self.std.log()).sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Undo `forward`."""
        t = y * self.std + self.mean
        # the exponential of the other columns, which is not used, must not overflow
        return torch.where(self.log, torch.where(self.log, t, torch.zeros_like(t)).exp(), t)

    def _logged(self, x: Tensor) -> Tensor:
        return torch.where(self.log, x.clamp_min(_TINY).log(), x)
