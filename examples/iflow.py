"""Importance-sampled integration with a flow, after i-flow (Gao, Isaacson and Krause, arXiv:2001.05486).

A flow q on the unit hypercube is trained to be proportional to the integrand f by the points it draws itself: with
weights w = f/q the gradient of the Kullback-Leibler divergence from f/I to q is that of -w log q. The integral is the
mean of w over new points, its error their spread; the variance of w is what the training lowers. A share of the points
is always uniform, so that no part of the cube is lost and weights stay bounded.

    python examples/iflow.py            # integral of a double peak in 4 dimensions, against the exact value
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.flow import ConditionalFlow
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Integrand = Callable[[Tensor], Tensor]

_UNIFORM = 0.1  # share of uniform points
_SQUEEZE = 1e-6


@dataclass(frozen=True)
class Integral:
    """Estimate, one standard deviation, and the relative spread of the weights, which a perfect flow makes zero."""

    value: float
    error: float
    relative_spread: float


def make_flow(dimensions: int, *, blocks: int = 6, width: int = 32, seed: int = 1) -> ConditionalFlow:
    """A coupling flow on the logits of the cube."""
    torch.manual_seed(seed)
    spline = SplineSettings(bins=12, bound=8.0, min_width=1e-3, min_height=1e-3, min_derivative=1e-3)
    blocks_ = coupling_blocks(
        dimensions,
        lambda: SplineCoupling(dimensions, 0, spline, width=width, blocks=1),
        blocks=blocks,
        generator=torch.Generator().manual_seed(seed),
    )
    return ConditionalFlow(blocks_, base=_Logistic())


class _Logistic(torch.nn.Module):
    """Base density of logits that are uniform on the cube, so that a new flow is nearly uniform."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return (torch.nn.functional.logsigmoid(z) + torch.nn.functional.logsigmoid(-z)).sum(-1)

    def from_noise(self, noise: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: ARG002
        z: Tensor = torch.special.ndtr(noise.double()).clamp(_SQUEEZE, 1 - _SQUEEZE).logit().to(noise.dtype)
        return z


def log_density(flow: ConditionalFlow, x: Tensor) -> Tensor:
    """Log density (N,) of the mixture that is sampled, at points (N, D) of the cube."""
    inside = x.clamp(_SQUEEZE, 1 - _SQUEEZE)
    own = flow.log_prob(inside.logit()) - (inside.log() + (1 - inside).log()).sum(-1)
    return torch.logaddexp(own + math.log(1 - _UNIFORM), torch.full_like(own, math.log(_UNIFORM)))


@torch.no_grad()
def draw(flow: ConditionalFlow, n: int, dimensions: int) -> Tensor:
    """Draw n points of the mixture, shape (n, D)."""
    x = torch.sigmoid(flow.sample(torch.randn(n, dimensions)))
    uniform = torch.rand(n, 1) < _UNIFORM
    return torch.where(uniform, torch.rand(n, dimensions), x)


def train(
    integrand: Integrand, dimensions: int, *, steps: int = 300, batch: int = 2000, rate: float = 3e-3, seed: int = 1
) -> ConditionalFlow:
    """Train a flow to sample an integrand that is not negative on the unit cube."""
    flow = make_flow(dimensions, seed=seed)
    optimizer = torch.optim.Adam(flow.parameters(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        x = draw(flow, batch, dimensions)
        log_q = log_density(flow, x)
        weight = integrand(x) / log_q.detach().exp()
        loss = -(weight / weight.mean() * log_q).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimizer.step()
    return flow.eval()


@torch.no_grad()
def integrate(
    flow: ConditionalFlow | None, integrand: Integrand, dimensions: int, n: int, *, seed: int = 2
) -> Integral:
    """Integral over the unit cube with n points of a flow, or uniform ones for None."""
    torch.manual_seed(seed)
    x = torch.rand(n, dimensions) if flow is None else draw(flow, n, dimensions)
    weight = integrand(x).double()
    if flow is not None:
        weight = weight / log_density(flow, x).double().exp()
    mean, spread = float(weight.mean()), float(weight.std())
    return Integral(mean, spread / math.sqrt(n), spread / mean)


def double_peak(x: Tensor, *, width: float = 0.1) -> Tensor:
    """Two Gaussian peaks at 1/4 and 3/4 of the diagonal, normalised in all of space, (N, D) to (N,)."""
    norm = (math.sqrt(2 * math.pi) * width) ** x.shape[1]
    peaks = [torch.exp(-((x - place) ** 2).sum(-1) / (2 * width**2)) / norm for place in (0.25, 0.75)]
    return 0.5 * (peaks[0] + peaks[1])


def exact_double_peak(dimensions: int, *, width: float = 0.1) -> float:
    """Integral of `double_peak` over the unit cube."""
    edges = [math.erf((end - 0.25) / (math.sqrt(2) * width)) for end in (0.0, 1.0)]
    return float((0.5 * (edges[1] - edges[0])) ** dimensions)


def main() -> None:
    """Integrate the double peak with and without a flow."""
    dimensions, n = 4, 50_000
    print(f"exact     {exact_double_peak(dimensions):.5f}")
    for name, flow in (("uniform", None), ("flow", train(double_peak, dimensions))):
        found = integrate(flow, double_peak, dimensions, n)
        print(
            f"{name:9} {found.value:.5f} +- {found.error:.5f}, relative spread of weights {found.relative_spread:.2f}"
        )


if __name__ == "__main__":
    main()
