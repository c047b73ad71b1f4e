"""Mining gold from a simulator (Brehmer, Louppe, Pavez and Cranmer, arXiv:1805.12244), on a branching shower.

The simulator splits partons: each splits with a probability that depends on the parameter theta, with a momentum
fraction from a density that depends on it as well; what is observed are four numbers of the final partons, smeared. The
likelihood of the observation sums over all histories and cannot be computed, that of one history can: along the way the
simulator adds up the joint likelihood ratio r(x, z | theta0, theta1) and the joint score t(x, z | theta). Estimators:

* ``ratio``: the plain ratio trick, a classifier between theta0 and theta1;
* ``ROLR``: regression on the joint ratio (its expectation given x is the ratio of the observable likelihoods);
* ``RASCAL``: ROLR, and the gradient of the estimated log ratio is regressed on the joint score;
* ``SALLY``: regression of the joint score at the reference alone, a locally sufficient statistic; as a ratio it is that
  of the local model p(x | theta) ~ p(x | reference) exp((theta - reference) t(x)).

Smearing is the last step and known, so that the truth can be had after all, from no estimator: a sum over very many
histories, each with a Gaussian about its unsmeared observation (`true_log_ratios`).

    python examples/mining_gold.py      # error of each estimator against the number of events, and limits
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]

LOW, HIGH, REFERENCE = 0.5, 2.0, 1.0
"""Range of the parameter, and the denominator of all ratios."""
GENERATIONS, SMEARING, FLOOR = 4, 0.1, 0.05
METHODS = ("ratio", "ROLR", "RASCAL", "SALLY")


@dataclass(frozen=True, kw_only=True)
class Events:
    """Simulated events.

    Attributes:
        x: what is observed, (N, 4).
        log_ratio: joint log p(x, z | numerator) / p(x, z | REFERENCE), (N,).
        score: joint score d/dtheta log p(x, z | theta) at the ratio's numerator, (N,).
        numerator: parameter of the numerator, (N,).
    """

    x: Floats
    log_ratio: Floats
    score: Floats
    numerator: Floats


def simulate(theta: Floats, numerator: Floats, rng: np.random.Generator, smearing: float = SMEARING) -> Events:
    """Simulate one event for each theta (N,), and mine the ratio and score at `numerator` (N,).

    In each generation a parton of energy fraction e splits with probability s(theta) = 1 - exp(-theta e); the larger
    share of the energy, 1 - y / 2, has y of the density theta y^(theta - 1). Both factors are known for a history.
    """
    n = len(theta)
    energies = np.zeros((n, 2**GENERATIONS))
    energies[:, 0] = 1.0
    alive = np.zeros_like(energies, dtype=bool)
    alive[:, 0] = True
    log_ratio, score = np.zeros(n), np.zeros(n)
    for generation in range(GENERATIONS):
        width = 2**generation
        e, on = energies[:, :width].copy(), alive[:, :width].copy()
        split = on & (rng.random(e.shape) < 1 - np.exp(-theta[:, None] * e))
        y = rng.random(e.shape) ** (1 / theta[:, None])
        for sign, parameter in ((1.0, numerator), (-1.0, np.full(n, REFERENCE))):
            t = parameter[:, None]
            terms = np.where(split, np.log(-np.expm1(-t * e), where=e > 0, out=np.zeros_like(e)), -t * e)
            terms = terms + np.where(split, np.log(t) + (t - 1) * np.log(y), 0.0)
            log_ratio += sign * np.where(on, terms, 0.0).sum(1)
        t = numerator[:, None]
        odds = np.divide(e, np.expm1(t * e), where=e > 0, out=np.zeros_like(e))
        terms = np.where(split, odds + 1 / t + np.log(y), -e)
        score += np.where(on, terms, 0.0).sum(1)
        energies[:, :width] = np.where(split, e * (1 - y / 2), e)
        energies[:, width : 2 * width] = np.where(split, e * y / 2, 0.0)
        alive[:, :width] = split  # a parton that does not split is final
        alive[:, width : 2 * width] = split
    partons = -np.sort(-energies, axis=1)
    shares = np.where(partons > 0, partons, 1.0)
    clean = np.stack(
        [partons[:, 0], partons[:, 1], np.log((partons > FLOOR).sum(1)), -(shares * np.log(shares)).sum(1)], axis=1
    )
    x = clean + smearing * rng.normal(size=clean.shape)
    return Events(x=x, log_ratio=log_ratio, score=score, numerator=numerator)


@torch.no_grad()
def true_log_ratios(x: Floats, grid: Floats, *, histories: int = 100_000, seed: int = 0) -> Floats:
    """The truth (N, G), by Monte Carlo over histories of all parameters, so that no weight exceeds G + 1."""
    mixture = np.append(grid, REFERENCE)
    theta = mixture[np.arange(histories) % len(mixture)]
    # the same seed makes the same histories: only what is mined differs
    made = [simulate(theta, np.full(histories, t), np.random.default_rng(seed), smearing=0.0) for t in mixture]
    joint = np.exp([events.log_ratio for events in made])
    weights = torch.tensor((joint / joint.mean(0)).T, dtype=torch.float32)
    clean, observed = (torch.tensor(part / SMEARING, dtype=torch.float32) for part in (made[0].x, x))
    parts = [torch.exp(-0.5 * torch.cdist(part, clean).square()) @ weights for part in observed.split(200)]
    density = torch.cat(parts).double().numpy()
    return np.asarray(np.log(density[:, :-1] / density[:, -1:]))


def _network(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))


class LogRatio(nn.Module):
    """log r(x | theta, REFERENCE), exactly 0 at the reference: a network of (x, theta) times theta - REFERENCE."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _network(5, 48)

    def forward(self, x: Tensor, theta: Tensor) -> Tensor:
        """(N, 4) and (N,) to (N,)."""
        scaled = torch.cat([2 * x - 1, theta[:, None] - 1], dim=1)
        out: Tensor = self.network(scaled)[:, 0] * (theta - REFERENCE)
        return out


class LocalRatio(nn.Module):
    """log r(x | theta, REFERENCE) of SALLY's local model, normalised over events (M, 4) of the reference."""

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        self.reference, self.score = reference, _network(4, 32)

    def forward(self, x: Tensor, theta: Tensor) -> Tensor:
        """(N, 4) and (N,) to (N,)."""
        value, which = theta.unique(return_inverse=True)
        logs = (value[:, None] - REFERENCE) * self.score(2 * self.reference - 1)[:, 0]
        norm = torch.logsumexp(logs, dim=1) - math.log(len(self.reference))
        out: Tensor = self.score(2 * x - 1)[:, 0] * (theta - REFERENCE) - norm[which]
        return out


def train(method: str, n: int, *, steps: int = 1000, seed: int = 1) -> nn.Module:
    """Train one of `METHODS` on n events."""
    rng = np.random.default_rng(seed)
    numerator = np.full(n, REFERENCE) if method == "SALLY" else rng.uniform(LOW, HIGH, n)
    # half of the events from the numerators, half from the reference
    events = simulate(np.where(np.arange(n) % 2 == 0, numerator, REFERENCE), numerator, rng)
    torch.manual_seed(seed)
    if method == "SALLY":
        x, score = (torch.tensor(part, dtype=torch.float32) for part in (events.x, events.score))
        local = LocalRatio(x)
        _descend(local, lambda rows: (local.score(2 * x[rows] - 1)[:, 0] - score[rows]).square().mean(), n, steps)
        return local
    model = LogRatio()
    _descend(model, _ratio_loss(model, events, method), n, steps)
    return model


def _ratio_loss(model: nn.Module, events: Events, method: str, weight: float = 0.5) -> Callable[[Tensor], Tensor]:
    x, log_ratio, score, numerator = (
        torch.tensor(part, dtype=torch.float32) for part in (events.x, events.log_ratio, events.score, events.numerator)
    )
    from_numerator = (torch.arange(len(x)) % 2 == 0).float()

    def loss_of(rows: Tensor) -> Tensor:
        given = numerator[rows].requires_grad_(method == "RASCAL")
        found = model(x[rows], given)
        label = from_numerator[rows]
        if method == "ratio":
            return nn.functional.binary_cross_entropy_with_logits(found, label)
        joint = log_ratio[rows].clamp(-6, 6)
        # r is regressed on events of the reference, 1 / r on those of the numerator, so that neither explodes
        residual = torch.where(label > 0, torch.exp(-found) - torch.exp(-joint), torch.exp(found) - torch.exp(joint))
        loss = residual.clamp(-20, 20).square().mean()
        if method == "RASCAL":
            (slope,) = torch.autograd.grad(found.sum(), given, create_graph=True)
            # E[joint score | x] is the score only over events that have been simulated at the numerator
            loss = loss + weight * (label * (slope - score[rows]) ** 2).mean()
        return loss

    return loss_of


def _descend(model: nn.Module, loss_of: Callable[[Tensor], Tensor], n: int, steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = loss_of(torch.randint(n, (min(n, 256),)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    model.eval()


@torch.no_grad()
def log_ratios(model: nn.Module, x: Floats, grid: Floats) -> Floats:
    """Estimates (N, G) of log r(x | theta, REFERENCE) for events (N, 4) and parameters (G,)."""
    given = torch.tensor(x, dtype=torch.float32)
    columns = [model(given, torch.full((len(given),), float(theta))) for theta in grid]
    return torch.stack(columns, dim=1).double().numpy()


def limits(
    estimate: Callable[[Floats, Floats], Floats], *, events: int, toys: int, seed: int, level: float = 0.9
) -> tuple[float, float]:
    """Coverage and length of Neyman's intervals, in the mean over true parameters; other toys construct than test."""
    grid = np.linspace(LOW, HIGH, 13)
    rng = np.random.default_rng(seed)

    def statistic(truth: float) -> Floats:  # (toys, G), -2 log of the likelihood over its largest value
        t = np.full(toys * events, truth)
        summed = estimate(simulate(t, t, rng).x, grid).reshape(toys, events, -1).sum(1)
        return np.asarray(2 * (summed.max(1, keepdims=True) - summed))

    threshold = np.array([np.quantile(statistic(truth)[:, k], level) for k, truth in enumerate(grid)])
    inside = np.stack([statistic(truth) <= threshold for truth in grid])  # (G truths, toys, G)
    return float(np.einsum("ktk->kt", inside).mean()), float(inside.mean() * (HIGH - LOW))


def main() -> None:
    """Error of the estimators against the truth and limits, in the mean over three trainings."""
    grid = np.array([0.6, 0.8, 1.25, 1.5, 2.0])
    x = simulate(t := np.full(1000, REFERENCE), t, np.random.default_rng(9)).x
    true = true_log_ratios(x, grid)
    coverage, length = limits(partial(true_log_ratios, histories=5000), events=20, toys=400, seed=5)
    print(f"true ratio: 90 % limits cover {coverage:.3f}, length {length:.3f}")
    for n in (300, 1000, 3000, 10_000):
        for method in METHODS:
            found = []
            for seed in (1, 2, 3):
                estimate = partial(log_ratios, train(method, n, seed=seed))
                error = float(np.sqrt(((estimate(x, grid) - true) ** 2).mean()))
                found.append((error, *limits(estimate, events=20, toys=400, seed=5)))
            error, coverage, length = np.mean(found, axis=0)
            text = f"{n:7} {method:7} error {error:.3f}; 90 % limits cover {coverage:.3f}, length {length:.3f}"
            print(f"{text} +- {np.std(found, axis=0, ddof=1)[2]:.3f}")


if __name__ == "__main__":
    main()
