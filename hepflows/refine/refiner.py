"""What stands between noise and a generator's latents; three of the ways are networks, two are samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch

from hepflows.philox import normal_noise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from hepflows.refine.event_ratio import EventWeights
    from hepflows.refine.hmc import LogDensity
    from hepflows.refine.latent import LatentRatio

    LatentWeights: TypeAlias = LatentRatio | EventWeights
    """Latents (N, Z) and conditions (N, C) to log weights (N,)."""


class Refiner(Protocol):
    """Draws refined latents; events of a tile are drawn together, those of an event follow from seed and index."""

    @property
    def network(self) -> nn.Module:
        """What is saved; of refiners with `one_pass` a module cond (N, C), noise (N, K) to latents (N, Z)."""
        ...

    @property
    def noise_dim(self) -> int:
        """Number K of normal numbers that an event takes, if they are given."""
        ...

    @property
    def one_pass(self) -> bool:
        """Whether noise may be given, and the refiner become part of a graph."""
        ...

    def draw(self, conditions: Tensor, *, seed: int, first_event: int) -> Tensor:
        """Latents (N, Z) of events first_event ... first_event + N - 1 under conditions (N, C)."""
        ...


class NetworkRefiner:
    """A network from noise to latents."""

    one_pass = True

    def __init__(self, network: nn.Module, noise_dim: int) -> None:
        self.network, self.noise_dim = network.eval(), noise_dim

    def draw(self, conditions: Tensor, *, seed: int, first_event: int) -> Tensor:
        """See `Refiner.draw`."""
        noise = normals(seed, first_event, len(conditions), self.noise_dim, like=conditions)
        return self.apply(conditions, noise)

    @torch.no_grad()
    def apply(self, conditions: Tensor, noise: Tensor) -> Tensor:
        """Latents (N, Z) from noise (N, K)."""
        latents: Tensor = self.network(conditions, noise)
        return latents


def refined_density(weights: LatentWeights, conditions: Tensor) -> LogDensity:
    """Log of the refined density N(z) w(z), up to its norm, as a function of latents (N, Z)."""
    return lambda z: weights(z, conditions) - 0.5 * (z * z).sum(1)


def normals(seed: int, first_event: int, n: int, dim: int, *, like: Tensor, stream: int = 0) -> Tensor:
    """Normal numbers (n, dim) by seed and event on the device of `like`."""
    values: NDArray[np.float32] = normal_noise(seed, first_event, n, dim, stream=stream)
    return torch.from_numpy(values).to(like.device)
