from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from validation.cells import LEAST_EVENTS, cell_occupancy, occupancy_pulls

OCCUPANCY = np.random.default_rng(0).uniform(0.05, 0.95, 200)


def showers(n, seed, occupancy=OCCUPANCY):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, len(occupancy))) < occupancy, rng.exponential(size=(n, len(occupancy))), 0.0)


def test_squared_pull_is_the_chi_square_of_the_two_by_two_table():
    table = np.array([[30, 70], [55, 145]])
    shares = tuple(row[:1] / row.sum() for row in table)
    found = occupancy_pulls(shares, tuple(np.array([row.sum()], float) for row in table))
    assert found[0] ** 2 == pytest.approx(chi2_contingency(table, correction=False).statistic)


def test_equal_samples_have_pulls_of_one():
    largest, mean = cell_occupancy(showers(1000, 1), showers(1000, 2), replicas=20, seed=0)
    assert mean.value == pytest.approx(1, abs=4 * np.sqrt(2 / 200))
    assert 2 < largest.value < 5
    assert largest.error > 0


def test_one_dead_cell_is_found_and_a_common_one_is_not_counted():
    dead = OCCUPANCY.copy()
    dead[5] = 0
    largest, _ = cell_occupancy(showers(1000, 1, dead), showers(1000, 2), replicas=20, seed=0)
    assert largest.value > 10
    largest, _ = cell_occupancy(showers(1000, 1, dead), showers(1000, 2, dead), replicas=20, seed=0)
    assert largest.value < 5


def test_cells_of_few_events_are_left_out():
    rare = np.full(3, 0.25 * LEAST_EVENTS / 200)
    largest, mean = cell_occupancy(showers(100, 1, rare), showers(100, 2, rare), replicas=5, seed=0)
    assert np.isnan([largest.value, mean.value]).all()


def test_equal_weights_change_nothing():
    samples = showers(300, 1), showers(300, 2)
    plain = cell_occupancy(*samples, replicas=5, seed=0)
    weighted = cell_occupancy(*samples, replicas=5, seed=0, weights=(np.full(300, 2.0), np.full(300, 0.5)))
    assert [e.value for e in weighted] == pytest.approx([e.value for e in plain], rel=1e-4)
