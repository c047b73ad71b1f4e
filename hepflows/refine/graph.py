"""Refined generators as one module, for the graph of an exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class RefinedLatents(nn.Module):
    """A generator behind a second one: cond (N, C), noise (N, K) to x (N, D)."""

    def __init__(self, second: nn.Module, first: nn.Module) -> None:
        super().__init__()
        self.second, self.first = second, first

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        """The first generator's events from the second one's latents."""
        x: Tensor = self.first(cond, self.second(cond, noise))
        return x


class Weighted(nn.Module):
    """A generator with the weight of each event beside it: cond (N, C), noise (N, Z) to x (N, D), weight (N, 1)."""

    def __init__(self, sampler: nn.Module, features: nn.Module, ratio: nn.Module) -> None:
        super().__init__()
        self.sampler, self.features, self.ratio = sampler, features, ratio

    def forward(self, cond: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Events and weights."""
        x = self.sampler(cond, noise)
        weights = self.ratio(self.features(x, cond)).exp()
        return x, weights[:, None]
