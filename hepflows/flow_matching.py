"""Continuous flows trained by flow matching: a velocity field carries noise at time 0 to data at time 1.

Lipman et al., arXiv:2210.02747, with the straight paths of their section 4 (optimal transport of a Gaussian to a
point) in the limit of no final width: x_t = (1 - t) x_0 + t x_1. The field learns x_1 - x_0 given x_t, t and the
context. Sampling integrates it with Heun's method in a fixed number of steps, so that it becomes part of exported
graphs.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from hepflows.draws import normal_like, strata

if TYPE_CHECKING:
    from torch import Tensor


class Velocity(Protocol):
    """A velocity field."""

    def __call__(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """State (N, D), time (N, 1) and context (N, C) to the velocity (N, D)."""
        ...


class ContinuousFlow(nn.Module):
    """A velocity field with its objective and its sampler.

    While it is trained, a moving average of its weights is kept beside them: the average samples better than any
    single step. `keep_average` makes it the only one.

    Args:
        velocity: module meeting `Velocity`.
        steps: steps of Heun's method, each of which evaluates the field twice.
        average: weight of the past in the moving average.
    """

    n_updates: Tensor

    def __init__(self, velocity: nn.Module, *, steps: int, average: float = 0.999) -> None:
        super().__init__()
        self.velocity, self.steps, self.average = velocity, steps, average
        self.averaged: nn.Module | None = copy.deepcopy(velocity).requires_grad_(False)
        self.register_buffer("n_updates", torch.zeros((), dtype=torch.int64))

    def loss(
        self,
        x: Tensor,
        context: Tensor,
        weight: Tensor | None = None,
        *,
        noise: Tensor | None = None,
        total_weight: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error of the velocity, for a batch of data.

        Noise, unless it is given, and times are drawn from torch's generator. The times of a batch are spread evenly,
        which has less variance than independent ones. In training mode the field itself is evaluated, else its average.

        Args:
            x: data, shape (N, D).
            context: shape (N, C).
            weight: weight of each feature, shape (N, D); None takes all alike.
            noise: where the paths to `x` begin, shape (N, D); see `hepflows.pairing`.
            total_weight: scalar by which the weighted sum is divided; None takes the sum of `weight`.
        """
        noise = normal_like(x) if noise is None else noise
        time = strata(len(x), dtype=x.dtype, device=x.device).unsqueeze(1)
        state = noise + time * (x - noise)
        error = self._field()(state, time, context) - (x - noise)
        squares = error * error
        if weight is None:
            return squares.mean()
        total = weight.sum().clamp_min(1) if total_weight is None else total_weight
        return (squares * weight).sum() / total

    @torch.no_grad()
    def update_average(self) -> None:
        """Let the average follow the weights; faster at the beginning, when there is little to remember."""
        if self.averaged is None:
            return
        self.n_updates += 1
        count = float(self.n_updates)
        past = min(self.average, (1 + count) / (10 + count))
        pairs = zip(self.averaged.parameters(), self.velocity.parameters(), strict=True)
        for mean, value in pairs:
            mean.lerp_(value, 1 - past)

    def keep_average(self) -> None:
        """Make the average the field itself, at the end of a training."""
        if self.averaged is not None:
            self.velocity.load_state_dict(self.averaged.state_dict())
            self.averaged = None

    def sample(self, noise: Tensor, context: Tensor) -> Tensor:
        """Data (N, D) from standard normal noise (N, D) and context (N, C)."""
        field, x = self._field(), noise
        width = 1.0 / self.steps
        for step in range(self.steps):
            start = field(x, torch.full_like(x[:, :1], step * width), context)
            end = field(x + width * start, torch.full_like(x[:, :1], (step + 1) * width), context)
            x = x + (0.5 * width) * (start + end)
        return x

    def _field(self) -> Velocity:
        if self.training or self.averaged is None:
            return self.velocity
        return self.averaged
