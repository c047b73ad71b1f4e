from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hepflows.errors import DataError
from validation.response import MIN_PER_BIN, fit_linearity, fit_resolution, response_curve, response_edges


def shoot(n, *, a, b, seed, slope=0.9, offset=0.0, energies=None):
    """Energies and signals of a detector with sampling term a and constant term b."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 100, n) if energies is None else rng.choice(energies, n)
    return truth, (offset + slope * truth) * (1 + rng.normal(size=n) * np.sqrt(a**2 / truth + b**2))


def test_fit_finds_the_terms_of_a_gaussian_detector():
    truth, signal = shoot(100_000, a=0.1, b=0.01, seed=1)
    curve = response_curve(truth, signal, response_edges(truth))
    fit = fit_resolution(curve)
    for value, error, true in zip(fit.values, fit.errors, (0.1, 0.01), strict=True):
        assert abs(value - true) < 4 * error
        assert error < 0.05 * true
    line = fit_linearity(curve)
    assert abs(line.values[0] - 0.9) < 4 * line.errors[0]
    assert abs(line.values[1]) < 4 * line.errors[1]
    np.testing.assert_allclose(curve.response, 0.9, atol=0.004)


def test_an_offset_is_no_slope():
    truth, signal = shoot(50_000, a=0.05, b=0.0, seed=2, slope=1.2, offset=0.5)
    fit = fit_linearity(response_curve(truth, signal, response_edges(truth)))
    assert fit.values == pytest.approx((1.2, 0.5), abs=5 * max(fit.errors))
    assert max(fit.errors) < 0.05


def test_errors_of_the_terms_are_their_scatter():
    found = []
    for seed in range(120):
        truth, signal = shoot(2000, a=0.1, b=0.03, seed=seed)
        curve = response_curve(truth, signal, response_edges(truth))
        for fit, true in ((fit_resolution(curve), (0.1, 0.03)), (fit_linearity(curve), (0.9, 0.0))):
            found.append((np.array(fit.values) - true) / fit.errors)
    pulls = np.array(found).reshape(-1, 4)  # a, b, slope, offset
    np.testing.assert_allclose(pulls.std(0), 1.0, atol=0.25)
    np.testing.assert_allclose(pulls.mean(0), 0.0, atol=0.45)


def test_constant_term_that_is_not_there():
    truth, signal = shoot(4000, a=0.2, b=0.0, seed=3)
    fit = fit_resolution(response_curve(truth, signal, response_edges(truth)))
    assert fit.values[1] < 3 * fit.errors[1]
    assert 0 < fit.errors[1] < 0.05


def test_bins_hold_moments_and_their_errors():
    rng = np.random.default_rng(4)
    truth = np.repeat([1.0, 10.0], 5000)
    signal = truth * rng.gamma(4.0, 0.25, len(truth))  # skewed: mean 1, deviation 1/2
    curve = response_curve(truth, signal, response_edges(truth))
    ratio = (signal / truth).reshape(2, -1)
    np.testing.assert_allclose(curve.energy, [1, 10])
    np.testing.assert_allclose(curve.inverse, [1, 0.1])
    np.testing.assert_allclose(curve.response, ratio.mean(1))
    np.testing.assert_allclose(curve.response_error, stats.sem(ratio, axis=1))
    np.testing.assert_allclose(curve.resolution, stats.variation(ratio, axis=1, ddof=1))
    np.testing.assert_allclose(curve.signal_error, [0.5 / 5000**0.5, 5 / 5000**0.5], rtol=0.05)
    again = rng.gamma(4.0, 0.25, (500, 5000))
    scatter = stats.variation(again, axis=1, ddof=1).std()
    np.testing.assert_allclose(curve.resolution_error, scatter, rtol=0.15)


def test_weights_choose_events():
    truth, signal = shoot(4000, a=0.1, b=0.01, seed=5)
    keep = np.random.default_rng(0).uniform(size=4000) < 0.5
    edges = response_edges(truth)
    weighted = response_curve(truth, signal, edges, 3.0 * keep)
    chosen = response_curve(truth[keep], signal[keep], edges)
    for name in ("energy", "response", "response_error", "resolution", "resolution_error", "signal_error"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(chosen, name), rtol=1e-9, err_msg=name)


def test_edges_follow_the_energies():
    scan = np.repeat([0.256, 1.0, 4.0, 16.0], 30)
    edges = response_edges(scan)
    assert np.histogram(scan, edges)[0].tolist() == [30] * 4
    uniform = np.random.default_rng(1).uniform(1, 100, 3000)
    counts = np.histogram(uniform, response_edges(uniform))[0]
    assert counts.tolist() == [300] * 10
    for bad in ([1.0, 0.0], [1.0, np.nan], []):
        with pytest.raises(DataError, match="positive"):
            response_edges(np.array(bad))


def test_too_few_bins_give_no_fit():
    truth, signal = shoot(100, a=0.1, b=0.01, seed=6, energies=[10.0, 20.0])
    curve = response_curve(truth, signal, response_edges(truth))
    assert np.isfinite(curve.resolution).all()
    assert np.isnan(fit_resolution(curve).values).all()
    assert np.isnan(fit_linearity(curve).errors).all()
    few = response_curve(truth[: MIN_PER_BIN - 1], signal[: MIN_PER_BIN - 1], np.array([1.0, 100.0]))
    assert np.isnan(few.response).all()
