"""Boosted trees as classifier test: closed form, pairs, undefined values, weights."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from hepflows.errors import DataError
from validation.boosted import boosted_test


def gaussians(n, shift, *, seed=0):
    x, y = np.random.default_rng(seed).normal(size=(2, n, 3))
    y[:, 0] += shift
    return x, y


def test_auc_of_two_gaussians_is_the_closed_form():
    result = boosted_test(*gaussians(4000, 1.0))
    value, error, _ = result.summary()
    assert value == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=4 * error + 0.01)
    assert error < 0.02
    assert (result.n_train_per_class, result.features, len(result.auc)) == (2400, 3, 3)


def test_equal_samples_give_one_half_and_the_seed_decides():
    first, again, other = (boosted_test(*gaussians(1500, 0.0), seed=seed, repeats=2) for seed in (1, 1, 2))
    assert abs(first.summary()[0] - 0.5) < 4 * first.summary()[1]
    assert first.auc == again.auc != other.auc


def test_pairs_that_share_a_condition_do_not_leak():
    # the condition is the only feature, each value once in each sample: parts hold whole pairs of equal scores
    energies = np.random.default_rng(0).uniform(size=(1500, 1))
    numbers = np.arange(1500)
    assert boosted_test(energies, energies.copy(), groups=(numbers, numbers)).auc == (0.5, 0.5, 0.5)
    torn = boosted_test(energies, energies.copy())
    assert torn.summary()[0] < 0.5 - 3 * torn.test_error  # what happens to those who split pairs


def test_undefined_values_are_information():
    x, y = gaussians(800, 0.0)
    y[:400, 1] = np.nan
    assert boosted_test(x, y, repeats=1).auc[0] == pytest.approx(0.75, abs=0.06)


def test_weights_make_different_samples_equal():
    rng = np.random.default_rng(0)
    reference, generated = np.sqrt(rng.uniform(size=(3000, 1))), rng.uniform(size=(3000, 1))
    plain = boosted_test(reference, generated, repeats=1).auc[0]
    weighted = boosted_test(reference, generated, weights=(None, 2 * generated[:, 0]), repeats=1).auc[0]
    assert plain > 0.6
    assert weighted == pytest.approx(0.5, abs=0.05)


def test_bad_samples_are_refused():
    with pytest.raises(DataError, match="equal width"):
        boosted_test(np.zeros((100, 2)), np.zeros((100, 3)))
    with pytest.raises(DataError, match="one class only"):
        boosted_test(np.zeros((100, 1)), np.zeros((2, 1)))
