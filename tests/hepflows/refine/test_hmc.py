"""Hamiltonian Monte Carlo on a density that is known, and its diagnostics on chains that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from hepflows.errors import RefinementError, RefinementWarning
from hepflows.refine.config import HmcConfig
from hepflows.refine.diagnostics import effective_draws, judge_chains, split_r_hat
from hepflows.refine.hmc import DualAveraging, State, run_chains, transition

MEAN = torch.tensor([1.0, -2.0])
COVARIANCE = torch.tensor([[1.5, 0.6], [0.6, 0.5]])
LIMITS = {"warn_r_hat": 1.05, "largest_r_hat": 1.2, "least_ess": 50.0}


def gaussian(z: torch.Tensor) -> torch.Tensor:
    precision = torch.linalg.inv(COVARIANCE).to(z.dtype)
    x = z - MEAN
    return -0.5 * ((x @ precision) * x).sum(1)


@pytest.mark.parametrize("adapt", [False, True])
def test_draws_follow_the_density(adapt):
    config = HmcConfig(step=0.25 if not adapt else 0.01, leapfrog=8, chains=64, burn_in=100, draws=200, adapt=adapt)
    chains = run_chains(gaussian, torch.zeros(64, 2), config, seed=3)
    draws = chains.draws.reshape(-1, 2)
    size = chains.effective
    errors = np.sqrt(np.diag(COVARIANCE.numpy()) / size)
    assert (np.abs(draws.mean(axis=0) - MEAN.numpy()) < 4 * errors).all()
    np.testing.assert_allclose(np.cov(draws.T), COVARIANCE.numpy(), atol=0.1)
    for column in range(2):
        last = chains.draws[::20, :, column].reshape(-1)  # draws that hardly know of each other
        distance = stats.kstest(last, "norm", args=(float(MEAN[column]), float(COVARIANCE[column, column]) ** 0.5))
        assert distance.pvalue > 1e-3
    assert chains.r_hat.max() < 1.05
    if adapt:
        assert chains.acceptance == pytest.approx(0.8, abs=0.08)
        assert chains.step > 0.1
    else:
        assert chains.step == 0.25


def test_small_steps_conserve_energy_to_second_order():
    start = State.at(gaussian, torch.randn(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    momentum = torch.randn(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lost = []
    for step, leapfrog in ((0.2, 5), (0.1, 10)):
        _, probability = transition(gaussian, start, momentum, torch.ones(500), step=step, leapfrog=leapfrog)
        lost.append(float((1 - probability).mean()))
    assert lost[0] / lost[1] == pytest.approx(4, rel=0.25)  # the leapfrog's energy error falls with the step squared


def test_a_chain_that_leaves_the_density_stays_where_it_was():
    def cliff(z: torch.Tensor) -> torch.Tensor:
        return torch.where(z[:, 0] > 0.5, torch.full_like(z[:, 0], torch.nan), -0.5 * (z * z).sum(1))

    state = State.at(cliff, torch.zeros(4, 2))
    new, probability = transition(cliff, state, torch.full((4, 2), 5.0), torch.full((4,), 1e-9), step=1.0, leapfrog=1)
    assert (probability == 0).all()
    assert torch.equal(new.position, state.position)


def test_dual_averaging_finds_the_step_of_a_known_acceptance():
    adaptation = DualAveraging(0.001, 0.8)
    for _ in range(2000):
        adaptation.update(float(np.exp(-adaptation.step)))
    assert np.exp(-adaptation.average()) == pytest.approx(0.8, abs=0.02)


def test_independent_draws_have_r_hat_one_and_count_all():
    draws = np.random.default_rng(0).normal(size=(400, 10, 3))
    np.testing.assert_allclose(split_r_hat(draws), 1, atol=0.01)
    np.testing.assert_allclose(effective_draws(draws), 4000, rtol=0.15)


def test_correlated_draws_count_as_theory_says():
    random, rho = np.random.default_rng(1), 0.8
    draws = np.empty((2000, 8, 2))
    draws[0] = random.normal(size=(8, 2))
    for t in range(1, 2000):
        draws[t] = rho * draws[t - 1] + np.sqrt(1 - rho**2) * random.normal(size=(8, 2))
    np.testing.assert_allclose(effective_draws(draws), 16_000 * (1 - rho) / (1 + rho), rtol=0.2)


def test_chains_that_do_not_mix_are_refused_with_numbers():
    far = torch.tensor([[-8.0], [8.0]]).repeat(8, 1)

    def two_peaks(z: torch.Tensor) -> torch.Tensor:
        return torch.logaddexp(-0.5 * ((z[:, 0] - 8) ** 2), -0.5 * ((z[:, 0] + 8) ** 2))

    config = HmcConfig(step=0.2, leapfrog=5, chains=16, burn_in=20, draws=400)
    with pytest.raises(RefinementError, match=r"do not mix[\s\S]*R-hat"):
        run_chains(two_peaks, far, config, seed=0)
    # the same chains, each peak a target of its own: nothing is wrong
    assert run_chains(two_peaks, far, config, seed=0, groups=2).r_hat.max() < 1.2


def test_slow_chains_warn_and_stuck_chains_fail():
    with pytest.warns(RefinementWarning, match=r"R-hat 1\.1"):
        judge_chains(np.array([1.1]), np.array([100.0]), 0.5, **LIMITS)
    with pytest.raises(RefinementError, match="effective draws"):
        judge_chains(np.array([1.0]), np.array([10.0]), 0.5, **LIMITS)
    stuck = np.repeat(np.random.default_rng(0).normal(size=(1, 4, 1)), 20, axis=0)
    assert np.isinf(split_r_hat(stuck)).all()
    with pytest.raises(RefinementError, match="R-hat inf"):
        judge_chains(split_r_hat(stuck), effective_draws(stuck), 0.0, **LIMITS)
