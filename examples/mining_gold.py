"""Mining gold from a simulator (Brehmer, Louppe, Pavez and Cranmer, arXiv:1805.12244), on a branching shower.

The simulator splits partons: each splits with a probability that depends on the parameter theta, with a momentum
fraction from a density that depends on it as well; what is observed are four numbers of the final partons, smeared. The
likelihood of the observation sums over all histories and cannot be computed, that of one history can: along the way the
simulator adds up the joint likelihood ratio r(x, z | theta0, theta1) and the joint score t(x, z | theta). Estimators:

* ``ratio``: the plain ratio trick, a classifier between theta0 and theta1;
* ``ROLR``: regression on the joint ratio (its expectation given x is the ratio of the observable likelihoods);
* ``RASCAL``: ROLR, and the gradient of the estimated log ratio is regressed on the joint score;
* ``SALLY``: regression of the joint score at a reference point alone: a locally sufficient statistic.

    python examples/mining_gold.py      # error of each estimator against the number of events, and limits
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
METHODS = ("ratio", "ROLR", "RASCAL")


@dataclass(frozen=True, kw_only=True)
class Events:
    """Simulated events.

    Attributes:
        x: what is observed, (N, 4).
        theta: parameter that each was simulated with, (N,).
        log_ratio: joint log p(x, z | numerator) / p(x, z | REFERENCE), (N,).
        score: joint score d/dtheta log p(x, z | theta) at the numerator, (N,).
        numerator: parameter of the ratio's numerator, (N,).
    """

    x: Floats
    theta: Floats
    log_ratio: Floats
    score: Floats
    numerator: Floats


def simulate(theta: Floats, numerator: Floats, rng: np.random.Generator) -> Events:
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
    x = clean + SMEARING * rng.normal(size=clean.shape)
    return Events(x=x, theta=theta, log_ratio=log_ratio, score=score, numerator=numerator)


def training_events(n: int, seed: int) -> Events:
    """Half of the events from numerators that are uniform in the range, half from the reference."""
    rng = np.random.default_rng(seed)
    numerator = rng.uniform(LOW, HIGH, n)
    theta = np.where(np.arange(n) % 2 == 0, numerator, REFERENCE)
    return simulate(theta, numerator, rng)


class LogRatio(nn.Module):
    """log r(x | theta, REFERENCE), exactly 0 at the reference: a network of (x, theta) times theta - REFERENCE."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(5, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor, theta: Tensor) -> Tensor:
        """(N, 4) and (N,) to (N,)."""
        scaled = torch.cat([2 * x - 1, theta[:, None] - 1], dim=1)
        out: Tensor = self.network(scaled)[:, 0] * (theta - REFERENCE)
        return out


def train_ratio(events: Events, method: str, *, steps: int = 1000, weight: float = 0.1, seed: int = 1) -> LogRatio:
    """Train one of `METHODS`.

    Args:
        events: what `training_events` gives.
        method: of `METHODS`.
        steps: of Adam.
        weight: of the score's part in RASCAL.
        seed: of weights and batches.
    """
    torch.manual_seed(seed)
    x, log_ratio, score, numerator = (
        torch.tensor(part, dtype=torch.float32) for part in (events.x, events.log_ratio, events.score, events.numerator)
    )
    from_numerator = (torch.arange(len(x)) % 2 == 0).float()
    model = LogRatio()

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

    _descend(model, loss_of, len(x), steps)
    return model


def train_sally(n: int, *, steps: int = 1000, seed: int = 1) -> nn.Module:
    """Regress the joint score at the reference on x, with n events of the reference."""
    reference = np.full(n, REFERENCE)
    events = simulate(reference, reference, np.random.default_rng(seed))
    torch.manual_seed(seed)
    x, score = (torch.tensor(part, dtype=torch.float32) for part in (events.x, events.score))
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    _descend(model, lambda rows: (model(2 * x[rows] - 1)[:, 0] - score[rows]).square().mean(), n, steps)
    return model


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
def log_ratios(model: LogRatio, x: Floats, grid: Floats) -> Floats:
    """Estimates (N, G) of log r(x | theta, REFERENCE) for events (N, 4) and parameters (G,)."""
    given = torch.tensor(x, dtype=torch.float32)
    columns = [model(given, torch.full((len(given),), float(theta))) for theta in grid]
    return torch.stack(columns, dim=1).double().numpy()


def interval(statistic: Floats, observed: Floats, grid: Floats, level: float) -> NDArray[np.bool_]:
    """Neyman construction: which parameters are in the interval of each observation.

    Args:
        statistic: of toys at each parameter, (G, T), large where the parameter is disfavoured.
        observed: of observations at each parameter, (K, G).
        grid: parameters (G,).
        level: of confidence.
    """
    if statistic.shape[0] != len(grid) or observed.shape[1] != len(grid):
        raise ValueError(f"toys {statistic.shape} and observations {observed.shape} do not fit {len(grid)} parameters")
    return np.asarray(observed <= np.quantile(statistic, level, axis=1)[None, :])


def profile_statistic(log_ratio: Floats) -> Floats:
    """-2 log of the likelihood over its largest value on the grid, from summed log ratios (..., G)."""
    return np.asarray(2 * (log_ratio.max(-1, keepdims=True) - log_ratio))


def limits(
    model: LogRatio, theta: float, *, events: int, toys: int, seed: int, level: float = 0.9
) -> tuple[float, float]:
    """Coverage of theta and mean length of intervals from experiments of some events each, toys at every grid point."""
    grid = np.linspace(LOW, HIGH, 13)
    rng = np.random.default_rng(seed)

    def experiments(truth: float, n: int) -> Floats:
        t = np.full(n * events, truth)
        found = log_ratios(model, simulate(t, t, rng).x, grid)
        return profile_statistic(found.reshape(n, events, -1).sum(1))

    statistic = np.stack([experiments(truth, toys)[:, k] for k, truth in enumerate(grid)])
    observed = experiments(theta, toys)
    inside = interval(statistic, observed, grid, level)
    at = int(np.argmin(np.abs(grid - theta)))
    return float(inside[:, at].mean()), float(inside.mean() * (HIGH - LOW))


def main() -> None:
    """Error of the estimators against the best one trained, and limits."""
    grid = np.array([0.6, 1.5])
    t = np.full(2000, REFERENCE)
    x = simulate(t, t, np.random.default_rng(9)).x
    trained = train_ratio(training_events(200_000, 7), "RASCAL", steps=6000)
    best, slope = log_ratios(trained, x, grid), log_ratios(trained, x, np.array([REFERENCE + 0.05]))[:, 0]
    for n in (1000, 10_000):
        local = train_sally(n)(2 * torch.tensor(x, dtype=torch.float32) - 1)[:, 0].detach().numpy()
        print(f"{n:7} SALLY   correlation with the slope of log r {np.corrcoef(local, slope)[0, 1]:.3f}")
        for method in METHODS:
            model = train_ratio(training_events(n, 3), method)
            error = float(np.sqrt(((log_ratios(model, x, grid) - best) ** 2).mean()))
            coverage, length = limits(model, 1.25, events=20, toys=300, seed=5)
            print(f"{n:7} {method:7} error of log r {error:.3f}; 90 % limits cover {coverage:.2f}, length {length:.2f}")


if __name__ == "__main__":
    main()
