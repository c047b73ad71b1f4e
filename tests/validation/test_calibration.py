"""Reliability curve and expected calibration error against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve as reference_curve

from validation.calibration import BINS, calibrated_level, calibration_curve, expected_calibration_error


def draw(n, *, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.15, 0.85, n)
    return scores, (rng.random(n) < scores + shift).astype(float)


def test_curve_is_scikit_learn_s():
    scores, labels = draw(5000, seed=1)
    curve = calibration_curve(scores, labels)
    observed, predicted = reference_curve(labels, scores, n_bins=BINS)
    np.testing.assert_allclose(curve.observed, observed, rtol=1e-12)
    np.testing.assert_allclose(curve.predicted, predicted, rtol=1e-12)
    assert curve.shares.sum() == pytest.approx(1)


def test_errors_of_the_curve_cover_the_truth():
    pulls = []
    for seed in range(60):
        curve = calibration_curve(*draw(400, seed=seed))
        pulls += list((curve.observed - curve.predicted) / curve.errors)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.15)


def test_calibrated_scores_reach_only_the_level_of_chance():
    scores, labels = draw(3000, seed=2)
    found = expected_calibration_error(scores, labels)
    assert abs(found.value - calibrated_level(scores)) < 4 * found.error
    # chance: mean |N(0, s)| = s sqrt(2/pi) of each bin, s^2 = p (1 - p) / n_bin
    of_bin = np.minimum((scores * BINS).astype(int), BINS - 1)
    variances = np.bincount(of_bin, scores * (1 - scores), BINS)
    expected = np.sqrt(variances * 2 / np.pi).sum() / len(scores)
    assert calibrated_level(scores, replicas=400) == pytest.approx(expected, rel=0.08)


def test_a_constant_error_of_the_scores_is_found():
    found = expected_calibration_error(*draw(20_000, seed=3, shift=0.1))
    assert found.value == pytest.approx(0.1, abs=5 * found.error)
    assert found.value > 10 * found.error


def test_weights_count_like_copies():
    scores, labels = draw(300, seed=4)
    counts = np.random.default_rng(0).integers(1, 4, 300)
    weighted = expected_calibration_error(scores, labels, counts.astype(float)).value
    copied = expected_calibration_error(np.repeat(scores, counts), np.repeat(labels, counts)).value
    assert weighted == pytest.approx(copied, rel=1e-12)
