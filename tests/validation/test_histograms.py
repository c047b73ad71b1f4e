from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from hepflows.errors import DataError
from validation.histograms import Resampler, block_counts, derive_edges, histogram, separation_power


def test_separation_of_shifted_gaussians_agrees_with_quadrature():
    shift, n = 0.7, 400_000
    rng = np.random.default_rng(3)
    edges = np.linspace(-5, 6, 111)
    counted = separation_power(histogram(rng.normal(size=n), edges), histogram(rng.normal(shift, 1, n), edges))

    def integrand(x):
        p, q = stats.norm.pdf(x), stats.norm.pdf(x - shift)
        return 0.5 * (p - q) ** 2 / (p + q)

    expected, _ = integrate.quad(integrand, -12, 13)
    # finite statistics add at most K / (2 n)
    assert counted == pytest.approx(expected, abs=3e-3)


def test_separation_limits_and_symmetry():
    a, b = np.array([1.0, 3, 0, 0]), np.array([0.0, 0, 5, 5])
    assert separation_power(a, a * 7) == 0
    assert separation_power(a, b) == 1
    c = np.array([2.0, 1, 1, 0])
    assert separation_power(a, c) == separation_power(c, a)


@given(st.lists(st.floats(0, 1e6), min_size=4, max_size=4), st.lists(st.floats(0, 1e6), min_size=4, max_size=4))
@settings(max_examples=50, deadline=None)
def test_separation_lies_between_zero_and_one(first, second):
    value = separation_power(np.array(first) + 1e-3, np.array(second) + 1e-3)
    assert -1e-12 <= value <= 1 + 1e-12


def test_out_of_range_and_undefined_entries_are_counted():
    edges = np.array([0.0, 1.0, 2.0])
    counts = histogram(np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 2.1, np.nan, 9.0]), edges)
    assert counts.tolist() == [1, 2, 2, 2, 1]
    # all reference entries inside, all generated ones outside: fully separated
    assert separation_power(histogram(np.full(5, 0.5), edges), histogram(np.full(5, 7.0), edges)) == 1


def test_histogram_agrees_with_numpy_inside_and_knows_weights():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=1000), rng.uniform(0, 2, 1000)
    edges = np.linspace(-2, 2, 21)
    expected, _ = np.histogram(values, edges, weights=weights)
    counts = histogram(values, edges, weights)
    np.testing.assert_allclose(counts[1:-2], expected)
    assert counts.sum() == pytest.approx(weights.sum())


def test_several_entries_an_event_share_its_weight():
    values = np.array([[0.5, 1.5], [0.5, 0.5]])
    edges = np.array([0.0, 1.0, 2.0])
    assert histogram(values, edges, np.array([1.0, 10.0])).tolist() == [0, 21, 1, 0, 0]


def test_blocks_add_up():
    rng = np.random.default_rng(0)
    values, edges = rng.normal(size=(300, 4)), np.linspace(-3, 3, 9)
    sampler = Resampler(300, replicas=10, seed=0)
    counts = block_counts(values, edges, sampler.blocks, sampler.n_blocks)
    np.testing.assert_array_equal(counts.sum(0), histogram(values, edges))


def test_bootstrap_error_matches_the_spread_of_repeated_experiments():
    edges, n = np.linspace(-3, 4, 16), 1000
    values, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        parts = []
        for k, sample in enumerate((rng.normal(size=n), rng.normal(0.5, 1, n))):
            parts.append(Resampler(n, replicas=100, seed=2 * seed + k).histograms(sample, edges, None))
        values.append(separation_power(parts[0][0], parts[1][0]))
        errors.append(separation_power(parts[0][1], parts[1][1]).std(ddof=1))
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.35)


def test_derived_edges_cover_the_reference_and_need_no_luck():
    values = np.random.default_rng(0).normal(size=5000)
    edges = derive_edges(values, n_events=5000)
    assert np.all(np.diff(edges) > 0)
    assert np.mean((values >= edges[0]) & (values <= edges[-1])) == pytest.approx(0.998, abs=1e-3)
    assert np.all(np.diff(derive_edges(np.full(10, 2.0), n_events=10)) > 0)
    assert np.all(np.diff(derive_edges(np.full(10, np.nan), n_events=10)) > 0)
    logarithmic = derive_edges(np.concatenate([np.zeros(100), np.geomspace(1, 1e4, 1000)]), n_events=1000, log=True)
    np.testing.assert_allclose(np.diff(np.log(logarithmic)), np.diff(np.log(logarithmic))[0])


def test_empty_histogram_is_an_error():
    with pytest.raises(DataError, match="without entries"):
        separation_power(np.zeros(3), np.ones(3))
