"""A conditional normalizing flow: a chain of invertible blocks over a base density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import nn

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class Transform(Protocol):
    """An invertible map between data and latent space."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent with log-determinant."""
        ...

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent to data with log-determinant."""
        ...


class StandardNormal(nn.Module):
    """Base density N(0, 1) in every dimension; the context is ignored."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Shape (N, D) to (N,)."""
        result: Tensor = -0.5 * (z * z + math.log(2 * math.pi)).sum(-1)
        return result

    def from_noise(self, noise: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Turn standard normal noise (N, D) into a base sample (N, D)."""
        return noise


class ConditionalNormal(nn.Module):
    """Base density N(mu(context), sigma(context)) with a small network for the mean and log standard deviation."""

    def __init__(self, features: int, context_features: int, *, width: int = 64) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(context_features, width), nn.ReLU(), nn.Linear(width, 2 * features))
        nn.init.zeros_(self.network[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.network[2].bias)  # type: ignore[arg-type]

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Shape (N, D) to (N,)."""
        mean, log_std = self.network(context).chunk(2, dim=-1)
        scaled = (z - mean) * torch.exp(-log_std)
        result: Tensor = (-0.5 * (scaled * scaled + math.log(2 * math.pi)) - log_std).sum(-1)
        return result

    def from_noise(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        """Turn standard normal noise (N, D) into a base sample (N, D)."""
        mean, log_std = self.network(context).chunk(2, dim=-1)
        sample: Tensor = mean + noise * torch.exp(log_std)
        return sample


@runtime_checkable
class SeparableTransform(Protocol):
    """A transformation that may evaluate each sample as if it were alone."""

    def is_separable(self, v: Tensor, context: Tensor | None) -> bool:
        """Whether it would do so for such arguments."""
        ...


@dataclass(frozen=True)
class Trace:
    """What passes through a flow, listed from the data side to the latent side.

    Attributes:
        states: data, the state behind each autoregressive block, ...; the last is the latent. Shapes (N, D).
        parameters: raw spline parameters of each block, shapes (N, D, P).
    """

    states: list[Tensor]
    parameters: list[Tensor]


class ConditionalFlow(nn.Module):
    """Chain of transformations, data x to latent z, over a base density.

    Args:
        transforms: modules with ``forward`` (data to latent) and ``inverse``, applied in this order to data.
        base: base density; standard normal if not given.
    """

    def __init__(self, transforms: Iterable[nn.Module], base: nn.Module | None = None) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)
        self.base = StandardNormal() if base is None else base

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent: (N, D) to (N, D) and log |dz/dx| of shape (N,)."""
        total = x.new_zeros(x.shape[0])
        for transform in self.transforms:
            x, log_det = transform(x, context)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent to data: (N, D) to (N, D) and log |dx/dz| of shape (N,)."""
        total = z.new_zeros(z.shape[0])
        for transform in reversed(self.transforms):
            z, log_det = transform.inverse(z, context)  # type: ignore[operator]
            total = total + log_det
        return z, total

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density of data, shape (N, D) to (N,)."""
        z, log_det = self(x, context)
        density: Tensor = self.base.log_prob(z, context) + log_det  # type: ignore[operator]
        return density

    def sample(self, noise: Tensor, context: Tensor | None = None, *, rows: slice | None = None) -> Tensor:
        """Data from standard normal noise of shape (N, D).

        Args:
            noise: shape (N, D).
            context: shape (N, C) or None.
            rows: the samples that are wanted. Others are left zero where this changes nothing in the wanted ones, not
                even their last bit.
        """
        z = self.base.from_noise(noise, context)  # type: ignore[operator]
        if rows is None or not self.is_separable(z, context):
            x, _ = self.inverse(z, context)
            return x
        data = torch.zeros_like(z)
        data[rows], _ = self.inverse(z[rows], None if context is None else context[rows])
        return data

    def is_separable(self, v: Tensor, context: Tensor | None) -> bool:
        """Whether a sample's result does not depend on the batch that it is evaluated in."""
        return all(
            isinstance(transform, SeparableTransform) and transform.is_separable(v, context)
            for transform in self.transforms
        )

    def trace_forward(self, x: Tensor, context: Tensor | None = None) -> Trace:
        """Data to latent through MAF blocks, keeping states and spline parameters."""
        states, parameters = [x], []
        for transform in self.transforms:
            if isinstance(transform, MaskedAutoregressive):
                x, _, raw = transform.forward_traced(x, context)
                states.append(x)
                parameters.append(raw)
            else:
                x, _ = transform(x, context)
        return Trace(states, parameters)

    def trace_inverse(self, z: Tensor, context: Tensor | None = None) -> Trace:
        """Latent to data through IAF blocks, keeping states and spline parameters.

        A block's state is listed where `trace_forward` of the teacher lists it: on the latent side of the block,
        before any permutation.
        """
        states, parameters = [], []
        for transform in reversed(self.transforms):
            if isinstance(transform, InverseAutoregressive):
                states.append(z)
                z, _, raw = transform.inverse_traced(z, context)
                parameters.append(raw)
            else:
                z, _ = transform.inverse(z, context)  # type: ignore[operator]
        states.append(z)
        return Trace(states[::-1], parameters[::-1])
