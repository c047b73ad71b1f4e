"""Correlation matrices of observables and their differences."""

from __future__ import annotations

import numpy as np
import pytest

import validation
from hepflows.errors import DataError
from validation.correlation_plots import correlation_figures
from validation.correlations import correlation_difference, correlation_matrix
from validation.settings import Settings
from validation.views import CorrelationView


def gaussians(n, rho, *, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1]
    return x * [1.0, 1e4, 1e-3] + [0.0, 1e6, 5.0]


def test_matrix_is_numpy_s_also_with_weights_and_undefined_entries():
    x = gaussians(400, 0.6, seed=0)
    np.testing.assert_allclose(correlation_matrix(x), np.corrcoef(x.T), atol=1e-9)
    repeats = np.random.default_rng(1).integers(0, 4, 400)
    expected = np.corrcoef(np.repeat(x, repeats, axis=0).T)
    np.testing.assert_allclose(correlation_matrix(x, repeats.astype(float)), expected, atol=1e-9)
    x[::3, 0] = np.nan
    kept = np.isfinite(x[:, 0])
    found = correlation_matrix(x)
    np.testing.assert_allclose(found[0], np.corrcoef(x[kept].T)[0], atol=1e-9)
    assert found[1, 2] == pytest.approx(np.corrcoef(x[:, 1:].T)[0, 1], abs=1e-9)
    np.testing.assert_allclose(found, found.T)


def test_constant_observables_have_no_coefficient():
    x = np.column_stack([np.arange(50.0), np.full(50, 3.7), np.arange(50.0) ** 2])
    found = correlation_matrix(x)
    assert np.isnan(found[1]).all()
    assert found[0, 2] == pytest.approx(np.corrcoef(x[:, 0], x[:, 2])[0, 1])
    difference = correlation_difference(x, x, replicas=5)
    assert difference.pair == (0, 2)
    assert [difference.rms, difference.largest] == pytest.approx([0, 0], abs=1e-12)
    assert np.isnan(correlation_difference(x[:, :2], x[:, :2], replicas=5).rms)
    with pytest.raises(DataError, match="matrix"):
        correlation_difference(x, x[:, :2])


def test_difference_of_gaussians_is_known():
    found = correlation_difference(gaussians(20_000, 0.7, seed=2), gaussians(20_000, 0.2, seed=3), replicas=40)
    assert found.pair == (0, 1)
    assert found.largest == pytest.approx(0.5, abs=4 * found.largest_error)
    assert found.rms == pytest.approx(0.5 / np.sqrt(3), abs=4 * found.rms_error)
    # errors of coefficients are (1 - rho^2) / sqrt(n)
    assert found.largest_error == pytest.approx(np.hypot(0.51, 0.96) / np.sqrt(20_000), rel=0.4)


def test_bootstrap_errors_have_the_size_of_the_scatter_among_experiments():
    found = [
        correlation_difference(
            gaussians(300, 0.8, seed=2 * k), gaussians(300, 0.3, seed=2 * k + 1), replicas=40, seed=k
        )
        for k in range(30)
    ]
    for value, error in (("rms", "rms_error"), ("largest", "largest_error")):
        scatter = np.std([getattr(f, value) for f in found], ddof=1)
        assert np.mean([getattr(f, error) for f in found]) == pytest.approx(scatter, rel=0.4)


def test_report_sees_broken_correlations_that_no_distribution_shows(points, domain, tmp_path):
    reference, good, broken = (points(1200, seed=k) for k in range(3))
    for events in (reference, good):
        events.x[:, 1] = 0.8 * (events.x[:, 0] - 3) + 0.6 * (events.x[:, 1] - 3) + 3
    result = validation.compare(
        reference, {"good": good, "broken": broken}, domain, settings=Settings(trainings=0, replicas=30)
    )
    numbers = result.samples["broken"]
    assert numbers["ks_b"].pull() < 4
    assert numbers["correlation_rms"].pull() > 10
    assert numbers["correlation_max"].value == pytest.approx(0.8, abs=0.1)
    assert numbers["correlation_max"].details["pair"] == "a, b"
    assert result.samples["good"]["correlation_rms"].pull() < 4
    view = result.views.correlations
    assert view.labels == ("$a$", "$b$")
    assert view.matrices["reference"][0, 1] == pytest.approx(0.8, abs=0.05)
    figures = list(correlation_figures(view, {name: name for name in view.matrices}))
    assert len(figures) == 1
    titles = [axes.get_title() for axes in figures[0].axes]
    assert {"reference", "good", "broken", "good - reference", "broken - reference"} <= set(titles)
    images = [axes.images[0].get_array() for axes in figures[0].axes if axes.get_title() == "broken - reference"]
    np.testing.assert_allclose(images[0], view.matrices["broken"] - view.matrices["reference"])


def test_many_samples_are_spread_over_figures():
    view = CorrelationView(labels=("a", "b"), matrices={f"{k}": np.eye(2) for k in range(6)})
    assert len(list(correlation_figures(view, {f"{k}": f"{k}" for k in range(6)}))) == 2
