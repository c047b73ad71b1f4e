"""Posterior of the incident energy given a shower: a conditional flow, checked by simulation-based calibration.

Layer energies are read out with a sampling fluctuation of 10 % / sqrt(deposit in GeV). The flow models the logarithm of
incident over measured energy, given the observables; its posterior is that under the training spectrum as prior. If it
is right, the rank of the true energy among posterior samples is uniform over new showers (Talts et al.,
arXiv:1804.06788).

    python examples/posterior_energy.py calofast/data/eplus.h5
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import chisquare

from calofast.reading import embedded_showers_path
from hepflows.autoregressive_flow import NetworkConfig, autoregressive_flow
from hepflows.observable_files import read_observables
from hepflows.scaling import Scaling
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.seeding import seeded
from hepflows.train.settings import TrainingConfig

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.feature_table import FeatureTable
    from hepflows.flow import ConditionalFlow

    Floats = NDArray[np.float64]

OBSERVABLES = ("layer_energy_0", "layer_energy_1", "layer_energy_2", "sparsity")
ENERGY = "incident_energy_gev"
MEV_PER_GEV = 1000
STOCHASTIC, NOISE_GEV = 0.1, 0.05
"""Sampling fluctuation at 1 GeV, and what keeps that of tiny deposits finite."""


@dataclass(frozen=True)
class Posterior:
    """p(E | shower), as a flow of the standardised logarithm of incident over measured energy."""

    flow: ConditionalFlow
    response: Scaling
    observables: Scaling

    @torch.no_grad()
    def sample(self, x: Floats, n: int, *, seed: int) -> Floats:
        """Draw n energies in GeV for each of N showers (N, D), shape (N, n)."""
        context = self.observables(torch.tensor(x, dtype=torch.float32))[0].repeat_interleave(n, 0)
        noise = torch.randn(len(context), 1, generator=torch.Generator().manual_seed(seed))
        ratios: Tensor = self.response.inverse(self.flow.sample(noise, context))
        return ratios.reshape(-1, n).double().numpy() * deposit_gev(x)

    @torch.no_grad()
    def log_prob(self, energy_gev: Floats, x: Floats) -> Floats:
        """Log posterior density (N,) per GeV of energies (N,) given showers (N, D)."""
        context = self.observables(torch.tensor(x, dtype=torch.float32))[0]
        deposit = deposit_gev(x)
        y, log_det = self.response(torch.tensor(energy_gev[:, None] / deposit, dtype=torch.float32))
        return np.asarray((self.flow.log_prob(y, context) + log_det).double().numpy() - np.log(deposit[:, 0]))


def deposit_gev(x: Floats) -> Floats:
    """Measured energy of showers, (N, D) to (N, 1)."""
    return np.asarray(x[:, :3].sum(1, keepdims=True) / MEV_PER_GEV)


def read(path: Path, part: tuple[float, float]) -> FeatureTable:
    """Observables of the showers that have all of them, read out, with the energy as condition."""
    table = read_observables(path, observables=OBSERVABLES, conditions=[ENERGY], selection={"part": part})
    table = table.select(table.complete())
    deposits = table.values[:, :3]
    noise = np.random.default_rng(round(1000 * part[0])).normal(size=deposits.shape)
    deposits *= np.exp(STOCHASTIC * noise / np.sqrt(deposits / MEV_PER_GEV + NOISE_GEV))
    return table


def fit_posterior(table: FeatureTable, *, epochs: int = 40, seed: int = 1) -> Posterior:
    """Train on showers (N, D) and their energies."""
    observables = Scaling([column.log for column in table.features])
    response = Scaling([True])
    ratios = table.condition_values / deposit_gev(table.values)
    x, ratio = (torch.tensor(part, dtype=torch.float32) for part in (table.values, ratios))
    observables.fit(x)
    response.fit(ratio)
    with torch.no_grad():
        context, y = observables(x)[0], response(ratio)[0]
    with seeded(seed):
        flow = autoregressive_flow(1, len(table.features), NetworkConfig(blocks=2, hidden=(64, 64)))
    held_out = len(y) // 10
    settings = TrainingConfig(epochs=epochs, batch_size=100, learning_rate=3e-3, schedule="cosine")
    objective = MaximumLikelihood(
        flow,
        lambda index: (y[held_out:][index], context[held_out:][index]),
        lambda: (y[:held_out], context[:held_out]),
    )
    fit(flow, objective, len(y) - held_out, settings, seed=seed)
    return Posterior(flow, response, observables)


def ranks(posterior: Posterior, table: FeatureTable, *, samples: int = 99, seed: int = 2) -> NDArray[np.int64]:
    """Rank (N,), 0 to `samples`, of each true energy among samples of its posterior."""
    drawn = posterior.sample(table.values, samples, seed=seed)
    return np.asarray((drawn < table.condition_values).sum(1))


def uniformity(found: NDArray[np.int64], *, samples: int = 99, bins: int = 10) -> float:
    """p-value of a chi-square test that ranks are uniform."""
    return float(chisquare(np.histogram(found, bins=bins, range=(-0.5, samples + 0.5))[0]).pvalue)


def main() -> None:
    """Train on 80 % of the showers and check the posterior on the rest."""
    path = sys.argv[1] if len(sys.argv) > 1 else embedded_showers_path()
    train, test = (read(path, part) for part in ((0.0, 0.8), (0.8, 1.0)))  # type: ignore[arg-type]
    posterior = fit_posterior(train)
    found = ranks(posterior, test)
    drawn = posterior.sample(test.values, 400, seed=3)
    width = drawn.std(1) / drawn.mean(1)
    for quantile in (0.16, 0.5, 0.84):
        share = (test.condition_values[:, 0] < np.quantile(drawn, quantile, axis=1)).mean()
        print(f"true energies below the posterior's {quantile:.0%} quantile: {share:.1%}")
    print(f"ranks of {len(found)} showers: chi-square p = {uniformity(found):.2f}; median width {np.median(width):.1%}")


if __name__ == "__main__":
    main()
