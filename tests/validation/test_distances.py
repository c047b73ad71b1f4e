from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hepflows.errors import DataError
from validation.distances import line_replicas, wasserstein, wasserstein_replicas
from validation.histograms import Resampler


def test_shift_is_the_distance():
    x = np.random.default_rng(0).normal(size=1000)
    assert wasserstein(x, x + 0.37) == pytest.approx(0.37, abs=1e-12)
    assert wasserstein(x, x) == 0


def test_agrees_with_scipy_with_and_without_weights():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=300), rng.exponential(size=211)
    wx, wy = rng.uniform(0.1, 2, 300), rng.uniform(0.1, 2, 211)
    assert wasserstein(x, y) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-12)
    expected = stats.wasserstein_distance(x, y, wx, wy)
    assert wasserstein(x, y, wx, wy) == pytest.approx(expected, rel=1e-12)


def test_undefined_entries_are_left_out():
    assert wasserstein(np.array([0.0, np.nan]), np.array([1.0, 1.0, np.nan])) == 1
    assert np.isnan(wasserstein(np.array([np.nan]), np.array([1.0])))


def test_weights_without_sum_are_an_error():
    with pytest.raises(DataError, match="weights"):
        wasserstein(np.ones(2), np.ones(2), np.zeros(2))


def test_replicas_scatter_around_the_exact_value():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(3000, 2)), rng.normal(0.5, 1, size=(3000, 2))
    samplers = Resampler(3000, replicas=60, seed=0), Resampler(3000, replicas=60, seed=1)
    replicas = wasserstein_replicas(x, y, samplers)
    assert replicas.shape == (60,)
    assert replicas.mean() == pytest.approx(wasserstein(x, y), rel=0.05)
    # the distance of two far Gaussians is the difference of their means: error sqrt(2 / entries)
    assert replicas.std() == pytest.approx(np.sqrt(2 / 6000), rel=0.35)


def test_replicas_of_one_value_are_zero():
    samplers = Resampler(50, replicas=5, seed=0), Resampler(50, replicas=5, seed=1)
    assert wasserstein_replicas(np.ones(50), np.ones(50), samplers).tolist() == [0] * 5


def test_replicas_of_two_values_scatter_like_their_shares():
    rng = np.random.default_rng(3)
    x, y = (rng.random(2000) < 0.1).astype(np.float64), (rng.random(2000) < 0.4).astype(np.float64)
    samplers = Resampler(2000, replicas=100, seed=0), Resampler(2000, replicas=100, seed=1)
    expected = np.sqrt((0.1 * 0.9 + 0.4 * 0.6) / 2000)
    for replicas in line_replicas(x, y, samplers):
        assert replicas.mean() == pytest.approx(0.3, abs=5 * expected)
        assert replicas.std() == pytest.approx(expected, rel=0.3)


def test_errors_of_many_cells_do_not_depend_on_how_many_there_are():
    """With 5000 events of 144 cells every eighth value would be drawn for the nodes: always of the same 18 cells."""
    rng = np.random.default_rng(3)
    n, cells = 5000, 144
    samples = []
    for _ in range(2):
        values = rng.exponential(0.1, (n, cells)).astype(np.float32)
        values[:, 68] = rng.exponential(300.0, n)  # one hot cell, not a multiple of eight
        samples.append(values)
    samplers = Resampler(n, replicas=20, seed=0), Resampler(n, replicas=20, seed=1)
    found = wasserstein_replicas(samples[0], samples[1], samplers)
    exact = []
    for k in range(20):
        drawn = [np.repeat(v, s.draws[k][s.blocks].astype(int), axis=0) for v, s in zip(samples, samplers, strict=True)]
        exact.append(wasserstein(*drawn))
    assert found == pytest.approx(np.array(exact), rel=0.05)
