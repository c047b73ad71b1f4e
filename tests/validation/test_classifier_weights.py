"""Weights of a classifier and their tails against the closed form of two Gaussians."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from hepflows.classifier_presets import PRESETS
from hepflows.weights import likelihood_ratios
from validation.classifier_numbers import score_metrics
from validation.classifier_result import HeldOut
from validation.classifier_test import two_sample_test
from validation.classifier_weights import pooled_log_weights, share, tail_shares

DELTA = 2.0


def exact(n, *, seed):
    """Test part with the exact posterior of N(DELTA, 1), the reference, against N(0, 1)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([1.0, 0.0], n)
    x = rng.normal(size=2 * n) + DELTA * labels
    scores = 1 / (1 + np.exp(-(DELTA * x - DELTA**2 / 2)))
    return HeldOut(scores=scores, labels=labels, weights=np.ones(2 * n), events=np.arange(2 * n))


def test_weights_are_the_ratio_of_densities():
    x = np.linspace(-3, 5, 50)
    p, q = norm.pdf(x - DELTA), norm.pdf(x)
    np.testing.assert_allclose(likelihood_ratios(p / (p + q)), p / q, rtol=1e-12)


def test_tails_have_the_closed_form():
    found = tail_shares(exact(20_000, seed=1))
    border = np.log(10) / DELTA  # w > 10: x > DELTA / 2 + border; w < 0.1: x < DELTA / 2 - border
    expected = {
        "reference_high": norm.sf(border - DELTA / 2),
        "generated_high": norm.sf(border + DELTA / 2),
        "generated_low": norm.cdf(DELTA / 2 - border),
        "reference_low": norm.cdf(-DELTA / 2 - border),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=4 * found[name].error), name
        assert found[name].error == pytest.approx(np.sqrt(value * (1 - value) / 20_000), rel=0.1)


def test_error_of_a_share_does_not_vanish_and_knows_weights():
    nothing = share(np.zeros(100, bool), np.ones(100))
    assert nothing.value == 0
    assert 0.005 < nothing.error < 0.02
    rng = np.random.default_rng(0)
    weights = rng.exponential(1, 500)
    drawn = [share(rng.random(500) < 0.3, weights) for _ in range(400)]
    assert np.std([e.value for e in drawn]) == pytest.approx(np.mean([e.error for e in drawn]), rel=0.1)


def test_pooled_weights_average_over_the_trainings_that_tested_an_event():
    half = np.full(2, 0.5)
    one = HeldOut(scores=half, labels=half, weights=half, events=np.array([0, 2]))
    two = HeldOut(scores=np.array([0.8, 0.2]), labels=half, weights=half, events=np.array([2, 3]))
    np.testing.assert_allclose(pooled_log_weights([one, two], 5), [0, np.nan, np.log(4) / 2, -np.log(4), np.nan])


def test_missing_and_invented_events_are_found_in_the_tails_they_belong_to():
    # a fifth of the reference lies where the generator makes nothing
    rng = np.random.default_rng(3)
    reference, generated, other = rng.normal(size=(3, 3000, 1)).astype(np.float32)
    reference[:600] += 12
    preset = dataclasses.replace(PRESETS["quick"], hidden=(32,), epochs=8, trainings=2)
    result, floor = (
        two_sample_test(reference, g, preset) for g in (generated, np.concatenate([other[600:], reference[:600]]))
    )
    metrics = score_metrics(result, floor, n=3000, suffix="", inputs="x", seed=0)
    high, low = metrics["weights_high"], metrics["weights_low"]
    assert high.value == pytest.approx(0.2, abs=5 * high.error)
    assert high.pull() > 5
    assert low.value < 0.02
    turned = score_metrics(two_sample_test(generated, reference, preset), floor, n=3000, suffix="", inputs="x", seed=0)
    assert turned["weights_low"].value == pytest.approx(0.2, abs=5 * turned["weights_low"].error)
    assert turned["weights_high"].value < 0.02
    assert metrics["ece"].value < 0.05
