"""Preprocessing that is part of the model: invertible modules fitted on the training data.

Each module's `forward` goes from physical to model space and gives a log-determinant; `inverse` goes back and uses
portable operators only, so that it becomes part of exported graphs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LOGIT_ALPHA = 1e-6


def logit_of_share(part: Tensor, rest: Tensor, alpha: float = LOGIT_ALPHA) -> tuple[Tensor, Tensor]:
    """Logit of alpha + (1 - 2 alpha) u with u = part / (part + rest), and log |dy/du|.

    `rest` is passed instead of being computed as 1 - u, so that nothing is lost in float32 when u is near 1 (an
    almost empty layer). CaloFlow, arXiv:2106.05285, section 3; alpha = 1e-6 there. Shares below alpha are squashed.
    """
    total = part + rest
    up = alpha + (1 - 2 * alpha) * part / total
    down = alpha + (1 - 2 * alpha) * rest / total
    log_up, log_down = up.log(), down.log()
    return log_up - log_down, -log_up - log_down


def share_of_logit(y: Tensor, alpha: float = LOGIT_ALPHA) -> tuple[Tensor, Tensor]:
    """Invert `logit_of_share`: u and 1 - u, both in [0, 1] and each accurate when it is small."""
    scale = 1 / (1 - 2 * alpha)
    part = ((torch.sigmoid(y) - alpha) * scale).clamp(0.0, 1.0)
    rest = ((torch.sigmoid(-y) - alpha) * scale).clamp(0.0, 1.0)
    return part, rest


class ConditionTransform(nn.Module):
    """Physical conditions to network inputs: log10 of the energy, all of them standardised.

    Args:
        n_conditions: number of conditions C; the first is the incident energy in GeV.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, n_conditions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_conditions))
        self.register_buffer("std", torch.ones(n_conditions))
        self.register_buffer("low", torch.zeros(n_conditions))
        self.register_buffer("high", torch.ones(n_conditions))

    @torch.no_grad()
    def fit(self, conditions: Tensor) -> None:
        """Learn standardisation and valid range from conditions of shape (N, C)."""
        scaled = self._scaled(conditions)
        self.mean.copy_(scaled.mean(0))
        spread = scaled.std(0, unbiased=False)
        self.std.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))
        self.low.copy_(conditions.amin(0))
        self.high.copy_(conditions.amax(0))

    def forward(self, conditions: Tensor) -> Tensor:
        """Shape (N, C), physical, to (N, C), standardised."""
        return (self._scaled(conditions) - self.mean) / self.std

    def clamp(self, conditions: Tensor) -> Tensor:
        """Move conditions (N, C) into the range seen in training."""
        return torch.minimum(torch.maximum(conditions, self.low), self.high)

    @staticmethod
    def _scaled(conditions: Tensor) -> Tensor:
        return torch.cat([conditions[:, :1].log10(), conditions[:, 1:]], dim=1)


class ContextStandardisation(nn.Module):
    """Subtract what the context predicts and divide by the spread that remains: y = (u - f(context)) / s.

    f is a quadratic polynomial of the context, fitted by ridge regression. A flow then needs to learn only what
    the context does not explain linearly. Without `use_context`, f is a constant.

    Args:
        features: number of features D.
        context_features: number of context inputs C.
    """

    coefficients: Tensor
    scale: Tensor

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()
        terms = len(_powers(context_features)) + 1
        self.context_features = context_features
        self.register_buffer("coefficients", torch.zeros(terms, features))
        self.register_buffer("scale", torch.ones(features))

    @torch.no_grad()
    def fit(self, u: Tensor, context: Tensor, *, regress: Tensor, least_scale: float = 1e-3) -> None:
        """Fit to u (N, D) and context (N, C); features where `regress` (D,) is false get a constant f.

        Args:
            u: features.
            context: standardised context.
            regress: which features have a polynomial f.
            least_scale: the scale is not made smaller than this.
        """
        design = self._design(context.double())
        target = u.double()
        ridge = 1e-6 * len(design) * torch.eye(design.shape[1], dtype=torch.float64, device=u.device)
        ridge[0, 0] = 0.0
        solution = torch.linalg.solve(design.T @ design + ridge, design.T @ target)
        constant = torch.zeros_like(solution)
        constant[0] = target.mean(0)
        chosen = torch.where(regress, solution, constant)
        self.coefficients.copy_(chosen)
        self.scale.copy_((target - design @ chosen).std(0, unbiased=False).clamp_min(least_scale))

    def forward(self, u: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Shape (N, D) to (N, D) and log |dy/du| of shape (N,)."""
        y = (u - self._prediction(context)) / self.scale
        return y, -self.scale.log().sum().expand(len(u))

    def inverse(self, y: Tensor, context: Tensor) -> Tensor:
        """Undo `forward`."""
        return y * self.scale + self._prediction(context)

    def _prediction(self, context: Tensor) -> Tensor:
        return self._design(context) @ self.coefficients

    def _design(self, context: Tensor) -> Tensor:
        columns = [torch.ones_like(context[:, :1])]
        for powers in _powers(self.context_features):
            column = context[:, powers[0] : powers[0] + 1]
            for other in powers[1:]:
                column = column * context[:, other : other + 1]
            columns.append(column)
        return torch.cat(columns, dim=1)


def _powers(n: int) -> list[tuple[int, ...]]:
    """Index tuples of the terms of order one and two; only squares when there are many inputs."""
    linear: list[tuple[int, ...]] = [(i,) for i in range(n)]
    if n > 12:  # the 45-layer calorimeters: all products would be a thousand terms
        return linear + [(i, i) for i in range(n)]
    return linear + [(i, j) for i in range(n) for j in range(i, n)]


def layer_matrix(layer_sizes: Sequence[int]) -> Tensor:
    """Matrix (V, L) with 1 where a voxel belongs to a layer: v @ matrix are layer sums."""
    index = torch.repeat_interleave(torch.arange(len(layer_sizes)), torch.tensor(layer_sizes))
    return torch.nn.functional.one_hot(index, len(layer_sizes)).float()
