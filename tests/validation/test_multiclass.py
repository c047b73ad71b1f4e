"""Mean log posteriors of reference events against the closed form of Gaussians."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import norm

from hepflows.classifier_presets import PRESETS
from hepflows.errors import DataError
from validation.multiclass import log_posteriors

FAST = dataclasses.replace(PRESETS["quick"], hidden=(32,), epochs=25, batch_size=200)


def normal(n, shift, seed):
    return np.random.default_rng(seed).normal(shift, 1, (n, 2)).astype(np.float32)


def test_posteriors_of_three_gaussians_are_the_closed_form():
    shifts = (0.0, 0.7, -1.2)
    reference = normal(4000, 0.0, 1)
    found = log_posteriors(reference, [normal(4000, s, 10 + i) for i, s in enumerate(shifts)], FAST)
    exact = log_softmax(np.stack([norm.logpdf(reference, s).sum(1) for s in shifts], axis=1), axis=1)
    for k, estimate in enumerate(found):
        assert estimate.value == pytest.approx(exact[:, k].mean(), abs=5 * estimate.error + 0.05)
        assert estimate.error == pytest.approx(exact[:, k].std() / np.sqrt(4000), rel=0.35)
    assert found[0].value > found[1].value > found[2].value


def test_equal_samples_share_the_posterior():
    found = log_posteriors(normal(1000, 0, 0), [normal(1500, 0, i) for i in (1, 2)], FAST, trainings=2)
    for estimate in found:
        assert estimate.value == pytest.approx(-np.log(2), abs=0.05)


def test_samples_of_unequal_sizes_have_equal_priors():
    # with a prior of 3 : 1 the second posterior would be lower by about 0.5
    reference = normal(1500, 0, 0)
    exact = log_softmax(np.stack([norm.logpdf(reference, s).sum(1) for s in (0, 1)], axis=1), axis=1).mean(0)
    found = log_posteriors(reference, [normal(3000, 0, 11), normal(1000, 1, 12)], FAST, trainings=2)
    for estimate, value in zip(found, exact, strict=True):
        assert estimate.value == pytest.approx(value, abs=0.15)


def test_samples_at_the_same_conditions_do_not_leak():
    # all classes are the same energies; whole groups stay together, so nothing can be learned but noise
    energies = np.random.default_rng(0).uniform(size=(500, 1)).astype(np.float32)
    numbers = np.arange(500)
    found = log_posteriors(energies + np.float32(0.0), [energies] * 3, FAST, groups=[numbers] * 3)
    for estimate in found:
        assert estimate.value == pytest.approx(-np.log(3), abs=0.03)


def test_too_little_is_refused():
    with pytest.raises(DataError, match="two samples"):
        log_posteriors(normal(50, 0, 0), [normal(50, 0, 0)], FAST)
    with pytest.raises(DataError, match="lacks a sample"):
        log_posteriors(normal(50, 0, 0), [normal(500, 0, 0), normal(2, 0, 0)], FAST)
