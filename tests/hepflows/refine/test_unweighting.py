"""Rejection turns weighted events into unweighted ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hepflows.errors import DataError
from hepflows.refine.reweight import unweight


def test_kept_events_follow_the_target():
    x = np.random.default_rng(0).normal(size=40_000)
    w = np.exp(0.5 * x - 0.125)  # from N(0, 1) to N(0.5, 1)
    found = unweight(w, seed=1)
    assert stats.kstest(x[found.kept], "norm", args=(0.5, 1.0)).pvalue > 1e-3
    assert found.above == 0
    expected = w.mean() / w.max()
    assert found.efficiency == pytest.approx(expected, abs=4 * np.sqrt(expected / len(x)))


def test_shards_agree_with_the_whole():
    w = np.random.default_rng(2).exponential(size=1000)
    whole = unweight(w, seed=4, bound=8.0).kept
    first, second = unweight(w[:512], seed=4, bound=8.0), unweight(w[512:], seed=4, first_event=512, bound=8.0)
    np.testing.assert_array_equal(whole, np.concatenate([first.kept, 512 + second.kept]))


def test_a_small_bound_says_what_it_clips():
    found = unweight(np.array([0.5, 1.0, 2.0, 4.0] * 50), seed=0, bound=1.0)
    assert found.above == 0.5
    kept = np.bincount(found.kept % 4, minlength=4)
    assert (kept[1:] == 50).all()
    assert 10 < kept[0] < 40


@pytest.mark.parametrize("weights", [np.array([1.0, -1.0]), np.zeros(3), np.array([np.nan, 1.0]), np.ones((2, 2))])
def test_weights_that_are_no_density(weights):
    with pytest.raises(DataError, match="cannot be undone"):
        unweight(weights, seed=0)


def test_a_bound_is_positive():
    with pytest.raises(DataError, match="bound"):
        unweight(np.ones(3), seed=0, bound=0.0)
