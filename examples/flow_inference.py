"""Estimating a shower energy scale with a flow's own likelihood, with coverage by toys.

The flow learns p(x | E, a) of the layer energies of a shower at incident energy E, read out with a sampling fluctuation
of 10 % / sqrt(deposit in GeV) and scaled by a; the training draws both anew each time, a uniformly in [0.9, 1.1]. An
experiment of n showers has the log likelihood sum log p(x_i | E_i, a). The interval of a follows from -2 ln of the
likelihood ratio, first by Wilks' theorem, then by the quantile of toys.

    python examples/flow_inference.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from calofast.reading import embedded_showers_path
from hepflows.autoregressive_flow import NetworkConfig, autoregressive_flow
from hepflows.observable_files import read_observables
from hepflows.scaling import Scaling
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.seeding import seeded
from hepflows.train.settings import TrainingConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hepflows.flow import ConditionalFlow

    Floats = NDArray[np.float64]

OBSERVABLES = ("layer_energy_0", "layer_energy_1", "layer_energy_2")
LOW, HIGH = 0.9, 1.1
GRID = np.linspace(0.92, 1.08, 33)
STOCHASTIC, NOISE_GEV = 0.1, 0.05
"""Sampling fluctuation at 1 GeV, and what keeps that of tiny deposits finite."""
WILKS_68 = 0.9889
"""68 % quantile of chi-square with one degree of freedom."""


@dataclass(frozen=True)
class Likelihood:
    """log p(observables | energy, scale), as a flow of scaled log energies."""

    flow: ConditionalFlow
    observables: Scaling
    energy: Scaling

    @torch.no_grad()
    def profile(self, x: Floats, energy_gev: Floats) -> Floats:
        """Log likelihoods (N, G) of showers (N, D) at every scale of `GRID`."""
        y, log_det = self.observables(torch.tensor(x, dtype=torch.float32))
        e = self.energy(torch.tensor(energy_gev[:, None], dtype=torch.float32))[0]
        columns = [self.flow.log_prob(y, _context(e, torch.full_like(e, float(a)))) + log_det for a in GRID]
        return torch.stack(columns, dim=1).double().numpy()


def _context(energy: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.cat([energy, (scale - 1) / (HIGH - 1)], dim=1)


def read_out(deposits_mev: Floats, scale: float, seed: int) -> Floats:
    """What the calorimeter measures of deposits (N, D), with fluctuations that keep energies positive."""
    noise = torch.randn(deposits_mev.shape, generator=torch.Generator().manual_seed(seed))
    return _fluctuated(torch.tensor(deposits_mev), noise).numpy() * scale


def _fluctuated(deposits_mev: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return deposits_mev * torch.exp(STOCHASTIC * noise / (deposits_mev / 1000 + NOISE_GEV).sqrt())


def fit_likelihood(x: Floats, energy_gev: Floats, *, epochs: int = 30, seed: int = 1) -> Likelihood:
    """Train on deposits (N, D) in MeV, each read out anew every time it is seen."""
    events, e_gev = torch.tensor(x, dtype=torch.float32), torch.tensor(energy_gev[:, None], dtype=torch.float32)
    observables, energy = Scaling([True] * x.shape[1]), Scaling([True])
    observables.fit(events)
    energy.fit(e_gev)
    with seeded(seed):
        flow = autoregressive_flow(x.shape[1], 2, NetworkConfig(blocks=4, hidden=(48, 48)))
    n = len(x) // 10

    def batch(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = LOW + (HIGH - LOW) * torch.rand(len(rows), 1)
        with torch.no_grad():
            measured = scale * _fluctuated(events[rows], torch.randn(len(rows), events.shape[1]))
            return observables(measured)[0], _context(energy(e_gev[rows])[0], scale)

    objective = MaximumLikelihood(flow, lambda rows: batch(rows + n), lambda: batch(torch.arange(n)))
    settings = TrainingConfig(epochs=epochs, batch_size=100, learning_rate=3e-3, schedule="cosine")
    fit(flow, objective, len(x) - n, settings, seed=seed)
    return Likelihood(flow, observables, energy)


def experiments(
    likelihood: Likelihood, x: Floats, energy_gev: Floats, scale: float, *, n: int, toys: int, seed: int
) -> tuple[Floats, Floats]:
    """Estimates (T,) and -2 ln likelihood ratio at the true scale (T,) of toys of n showers each, drawn from (N, D)."""
    profile = likelihood.profile(read_out(x, scale, seed), energy_gev)
    rows = np.random.default_rng(seed).integers(0, len(x), (toys, n))
    summed = profile[rows].sum(axis=1)
    at = int(np.argmin(np.abs(GRID - scale)))
    return GRID[summed.argmax(1)], 2 * (summed.max(1) - summed[:, at])


def coverage(statistic: Floats, threshold: float) -> float:
    """Share of experiments whose interval contains the truth."""
    return float((statistic <= threshold).mean())


def main() -> None:
    """Train on half of the packaged showers, estimate with the rest."""
    sets = []
    for part in ((0.0, 0.6), (0.6, 0.8), (0.8, 1.0)):
        table = read_observables(
            embedded_showers_path(),
            observables=OBSERVABLES,
            conditions=["incident_energy_gev"],
            selection={"part": part},
        )
        table = table.select(table.complete())
        sets.append((table.values, table.condition_values[:, 0]))
    likelihood = fit_likelihood(*sets[0])
    for scale in (0.95, 1.0, 1.05):
        _, calibration = experiments(likelihood, *sets[1], scale, n=20, toys=2000, seed=1)
        threshold = float(np.quantile(calibration, 0.68))
        estimates, statistic = experiments(likelihood, *sets[2], scale, n=20, toys=2000, seed=2)
        print(
            f"scale {scale:.2f}: estimated {estimates.mean():.4f} +- {estimates.std():.4f}; 68 % intervals cover "
            f"{coverage(statistic, WILKS_68):.1%} (Wilks), {coverage(statistic, threshold):.1%} (toys)"
        )


if __name__ == "__main__":
    main()
