from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from validation.mean_profile import containment, mean_profile, profile_distance, profile_maximum


def test_mean_and_errors_are_those_of_the_events():
    values = np.random.default_rng(1).gamma(2.0, 1.0, (1000, 4))
    found = mean_profile(values, replicas=400, seed=1)
    np.testing.assert_allclose(found.mean, values.mean(0))
    np.testing.assert_allclose(found.error, stats.sem(values, axis=0), rtol=1e-3)
    np.testing.assert_allclose(found.replicas.std(0), found.error, rtol=0.2)
    weighted = mean_profile(values, np.arange(1000) < 300, replicas=3)
    np.testing.assert_allclose(weighted.mean, values[:300].mean(0))


def test_maximum_of_a_parabola_is_exact():
    edges = np.array([0.0, 1, 3, 4, 8])
    centres = 0.5 * (edges[1:] + edges[:-1])
    for top in (1.9, 2.4, 3.2):
        density = 50 - (centres - top) ** 2
        assert profile_maximum(edges, density * np.diff(edges)) == pytest.approx(top)
    # at the ends there is no parabola
    rising = np.array([[1.0, 2, 3, 40], [40, 2, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(profile_maximum(edges, rising), [6, 0.5, 0.5])


def test_containment_of_known_densities():
    edges = np.linspace(0, 10, 6)
    assert containment(edges, np.ones(5)) == pytest.approx(9)
    assert containment(edges, np.ones(5), 0.25) == pytest.approx(2.5)
    assert containment(edges, np.array([0, 3.0, 0, 0, 0])) == pytest.approx(3.8)
    assert np.isnan(containment(edges, np.zeros(5)))
    stacked = containment(edges, np.array([[1.0, 1, 1, 1, 1], [5, 0, 0, 0, 0]]))
    np.testing.assert_allclose(stacked, [9, 1.8])


def test_distance_is_scipy_s():
    rng = np.random.default_rng(2)
    edges = np.array([0.0, 1, 1.5, 4, 5, 9])
    first, second = rng.uniform(size=(2, 5))
    fine = np.linspace(0, 1, 4001)
    fine = 0.5 * (fine[1:] + fine[:-1])
    points = (edges[:-1, None] + np.diff(edges)[:, None] * fine).ravel()
    weights = [np.repeat(content, len(fine)) for content in (first, second)]
    expected = stats.wasserstein_distance(points, points, *weights)
    assert profile_distance(edges, first, second) == pytest.approx(expected, rel=1e-4)
    assert profile_distance(edges, first, 7 * first) == pytest.approx(0, abs=1e-12)
    shifted = profile_distance(np.arange(6.0), np.array([1.0, 0, 0, 0, 0]), np.array([0, 0, 0, 1.0, 0]))
    assert shifted == pytest.approx(3)
    assert np.isnan(profile_distance(edges, first, np.zeros(5)))
