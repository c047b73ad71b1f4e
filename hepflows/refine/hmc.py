"""Hamiltonian Monte Carlo of many chains side by side.

Neal, "MCMC using Hamiltonian dynamics", arXiv 1206.1901, with unit masses. The step is fixed, as in LaSeR
(arXiv 2106.00792), or adapted during the burn-in by dual averaging (Hoffman and Gelman, arXiv 1111.4246, algorithm 5),
one step for all chains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hepflows.refine.diagnostics import effective_draws, judge_chains, split_r_hat
from hepflows.train.progress import Reporter, SilentReporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hepflows.refine.config import HmcConfig

LogDensity = Callable[[Tensor], Tensor]
"""Positions (C, D) to log densities (C,), up to a constant, with gradient."""


@dataclass(frozen=True)
class State:
    """Positions of chains (C, D), their log densities (C,) and the gradients of these (C, D)."""

    position: Tensor
    value: Tensor
    gradient: Tensor

    @classmethod
    def at(cls, log_density: LogDensity, position: Tensor) -> State:
        """Evaluate density and gradient."""
        with torch.enable_grad():
            at = position.detach().requires_grad_(True)
            value = log_density(at)
            (gradient,) = torch.autograd.grad(value.sum(), at)
        return cls(position.detach(), value.detach(), gradient)


@dataclass(frozen=True, kw_only=True)
class Chains:
    """What the chains drew.

    Attributes:
        draws: positions (T, C, D) after the burn-in.
        acceptance: mean probability of acceptance after it.
        step: step of the leapfrog used then.
        r_hat: split R-hat of each coordinate (D,).
        effective: effective number of draws of each coordinate (D,).
    """

    draws: NDArray[np.float32]
    acceptance: float
    step: float
    r_hat: NDArray[np.float64]
    effective: NDArray[np.float64]

    def __str__(self) -> str:
        return (
            f"acceptance {self.acceptance:.2f} at a step of {self.step:.3g}, largest R-hat {self.r_hat.max():.3f}, "
            f"{self.effective.min():.0f} effective draws at least"
        )

    def summary(self) -> dict[str, Any]:
        """JSON-able figures."""
        return {
            "acceptance": self.acceptance,
            "step": self.step,
            "largest_r_hat": float(self.r_hat.max()) if math.isfinite(float(self.r_hat.max())) else None,
            "least_effective_draws": float(self.effective.min()),
        }


def transition(
    log_density: LogDensity, state: State, momentum: Tensor, uniform: Tensor, *, step: float, leapfrog: int
) -> tuple[State, Tensor]:
    """One transition of every chain.

    Args:
        log_density: the target.
        state: where the chains are.
        momentum: standard normal numbers (C, D).
        uniform: numbers (C,) in (0, 1) that decide on acceptance.
        step: of the leapfrog.
        leapfrog: its number of steps.

    Returns:
        The new state, and the probabilities of acceptance (C,).
    """
    new, p = state, momentum
    for _ in range(leapfrog):
        p = p + 0.5 * step * new.gradient
        new = State.at(log_density, new.position + step * p)
        p = p + 0.5 * step * new.gradient
    energy = new.value - state.value - 0.5 * (p * p - momentum * momentum).sum(1)
    energy = torch.where(torch.isfinite(energy), energy, torch.full_like(energy, -math.inf))  # it left the density
    probability = energy.clamp_max(0.0).exp()
    moved = uniform < probability
    row = moved[:, None]
    kept = State(
        torch.where(row, new.position, state.position),
        torch.where(moved, new.value, state.value),
        torch.where(row, new.gradient, state.gradient),
    )
    return kept, probability


class DualAveraging:
    """Step size that drives the mean acceptance to a target (arXiv 1111.4246, section 3.2.1, with its constants)."""

    def __init__(self, step: float, target: float) -> None:
        self._shift, self._target = math.log(10 * step), target
        self._error, self._log_average, self._count = 0.0, 0.0, 0
        self.step = step

    def update(self, acceptance: float) -> None:
        """Learn from the mean acceptance of one transition."""
        self._count += 1
        m = self._count
        self._error += (self._target - acceptance - self._error) / (m + 10)
        log_step = self._shift - math.sqrt(m) / 0.05 * self._error
        share = m**-0.75
        self._log_average = share * log_step + (1 - share) * self._log_average
        self.step = math.exp(log_step)

    def average(self) -> float:
        """The step to keep."""
        return math.exp(self._log_average) if self._count else self.step


def run_chains(
    log_density: LogDensity,
    start: Tensor,
    config: HmcConfig,
    *,
    seed: int,
    groups: int = 1,
    reporter: Reporter | None = None,
) -> Chains:
    """Draw from a density.

    Args:
        log_density: the target.
        start: where the chains start, (C, D).
        config: steps and limits; its number of chains is not looked at.
        seed: of momenta and acceptance.
        groups: chain c has the target number c modulo `groups`; chains of different targets are not compared. R-hat is
            then the largest of all targets, the effective number of draws the smallest.
        reporter: where progress goes.

    Raises:
        RefinementError: the chains do not mix.
    """
    random = torch.Generator().manual_seed(seed)
    state = State.at(log_density, start)
    adaptation = DualAveraging(config.step, config.target_acceptance)
    step, accepted, draws = config.step, 0.0, []
    total = config.burn_in + config.draws
    with (reporter or SilentReporter()).stage("Hamiltonian Monte Carlo", total=total, unit="transitions") as stage:
        for number in range(total):
            burning = number < config.burn_in
            if config.adapt:
                step = adaptation.step if burning else adaptation.average()
            momentum = torch.randn(start.shape, generator=random, dtype=start.dtype).to(start.device)
            uniform = torch.rand(len(start), generator=random, dtype=start.dtype).to(start.device)
            state, probability = transition(log_density, state, momentum, uniform, step=step, leapfrog=config.leapfrog)
            mean = float(probability.mean())
            if burning:
                adaptation.update(mean)
            else:
                accepted += mean
                draws.append(state.position.cpu().float())
            stage.advance(acceptance=mean)
    kept = torch.stack(draws).numpy()
    parts = [kept[:, group::groups] for group in range(groups)]
    chains = Chains(
        draws=kept,
        acceptance=accepted / config.draws,
        step=step,
        r_hat=np.max([split_r_hat(part) for part in parts], axis=0),
        effective=np.min([effective_draws(part) for part in parts], axis=0),
    )
    judge_chains(
        chains.r_hat,
        chains.effective,
        chains.acceptance,
        warn_r_hat=config.warn_r_hat,
        largest_r_hat=config.largest_r_hat,
        least_ess=config.least_ess,
    )
    return chains
