"""Kolmogorov-Smirnov distance, and separation power with and without out-of-range entries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import validation
from hepflows.errors import ConfigError, DataError
from validation.command import validate
from validation.distances import kolmogorov_smirnov, line_distances, line_replicas, wasserstein
from validation.histograms import Resampler, histogram, out_of_range, separation_inside, separation_power
from validation.settings import Settings


def test_agrees_with_scipy_also_where_values_are_equal():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=301), rng.normal(0.3, 1.2, size=170)
    assert kolmogorov_smirnov(x, y) == pytest.approx(stats.ks_2samp(x, y).statistic, rel=1e-12)
    counts, others = rng.poisson(4, 500), rng.poisson(5, 300)
    expected = stats.ks_2samp(counts, others).statistic
    assert kolmogorov_smirnov(counts.astype(float), others.astype(float)) == pytest.approx(expected, rel=1e-12)


def test_two_gaussians_have_the_distance_of_their_distribution_functions():
    n, shift = 200_000, 0.8
    rng = np.random.default_rng(1)
    found = kolmogorov_smirnov(rng.normal(size=n), rng.normal(shift, 1, n))
    assert found == pytest.approx(2 * special.ndtr(shift / 2) - 1, abs=5 * np.sqrt(0.5 / n))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_integer_weights_are_repetitions(first, second):
    rng = np.random.default_rng(len(first) + 31 * len(second))
    x, y = rng.integers(0, 6, len(first)).astype(float), rng.normal(2, 2, len(second)).round(1)
    wx, wy = (np.array(w, float) + (sum(w) == 0) for w in (first, second))
    repeated = np.repeat(x, wx.astype(int)), np.repeat(y, wy.astype(int))
    assert kolmogorov_smirnov(x, y, wx, wy) == pytest.approx(stats.ks_2samp(*repeated).statistic, abs=1e-12)
    assert wasserstein(x, y, wx, wy) == pytest.approx(stats.wasserstein_distance(*repeated), abs=1e-12)


def test_undefined_and_equal_samples():
    x = np.array([[1.0, 2.0], [2.0, np.nan]])
    assert kolmogorov_smirnov(x, x) == 0
    assert line_distances(x, np.array([np.nan])) == pytest.approx((np.nan, np.nan), nan_ok=True)
    assert kolmogorov_smirnov(np.zeros(3), np.ones(3)) == 1
    with pytest.raises(DataError, match="weights"):
        kolmogorov_smirnov(np.ones(2), np.ones(2), np.array([1.0, -1.0]))


def test_bootstrap_error_has_the_right_size():
    n, values, errors = 600, [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=n), rng.normal(0.5, 1, n)
        samplers = tuple(Resampler(n, replicas=60, seed=2 * seed + k) for k in range(2))
        values.append(kolmogorov_smirnov(x, y))
        errors.append(line_replicas(x, y, samplers)[1].std(ddof=1))
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.35)


def test_entries_out_of_range_count_unless_they_are_dropped():
    edges = np.linspace(0, 1, 6)
    inside = np.linspace(0.05, 0.95, 10)
    reference = histogram(inside, edges)
    leaving = histogram(np.concatenate([inside, [-1.0, 7.0, 8.0, np.nan, np.nan, np.nan]]), edges)
    assert separation_inside(reference, leaving) == 0  # the shape within the edges is the same
    outside = 6 / 16
    expected = 0.5 * (outside**2 / (2 - outside) + outside)
    assert separation_power(reference, leaving) == pytest.approx(expected)
    shares = out_of_range(reference, leaving)
    assert shares == {"underflow": [0, 1 / 16], "overflow": [0, 2 / 16], "undefined": [0, 3 / 16]}
    assert np.isnan(separation_inside(reference, histogram(np.full(3, 9.0), edges)))


def published_separation(first, second, edges):
    """As the evaluation code of the CaloChallenge (arXiv 2410.21611) computes it from densities."""
    h1, h2 = (np.histogram(v, edges, density=True)[0] * np.diff(edges) for v in (first, second))
    return 0.5 * ((h1 - h2) ** 2 / (h1 + h2 + 1e-16)).sum()


def test_dropping_is_the_published_convention():
    rng = np.random.default_rng(2)
    x, y, edges = rng.normal(size=3000), rng.normal(0.6, 1.4, 2000), np.linspace(-1, 1.5, 21)
    found = separation_inside(histogram(x, edges), histogram(y, edges))
    assert found == pytest.approx(published_separation(x, y, edges), rel=1e-12)
    assert separation_power(histogram(x, edges), histogram(y, edges)) != pytest.approx(float(found), rel=0.05)


def test_compat_reaches_the_numbers(points, domain):
    reference, generated = points(400, seed=1), points(200, seed=2)
    generated.x[:60, 0] = 30.0
    plain, compatible = (
        validation.compare(reference, generated, domain, settings=Settings(trainings=0, replicas=20, compat=compat))
        for compat in (None, "calochallenge")
    )
    numbers = plain.samples["generated"], compatible.samples["generated"]
    assert numbers[0]["separation_a"].value > 0.1 + numbers[1]["separation_a"].value
    for metrics in numbers:
        assert metrics["separation_a"].details["overflow"][1] == pytest.approx(0.3, abs=0.01)
        assert metrics["ks_a"].value == numbers[0]["ks_a"].value
    assert compatible.to_json()["settings"]["compat"] == "calochallenge"
    generated.x[:, 0] = 30.0
    gone = validation.compare(reference, generated, domain, settings=Settings(trainings=0, compat="calochallenge"))
    assert "generated/separation_a" in gone.skipped
    assert np.isfinite(gone.samples["generated"]["separation_mean"].value)


def test_unknown_convention_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="compat: unknown evaluation code"):
        Settings(compat="jetnet")
    with pytest.raises(ConfigError, match="compat"):
        validate(tmp_path / "x.h5", "y.h5", out=tmp_path / "out", compat="best")
