"""What sets extreme events apart: scipy's distance, closed forms, ties, undefined values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from validation.drivers import driver, extreme_events


def test_distance_is_scipy_s_also_with_ties():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=500), rng.integers(0, 6, 500).astype(float)):
        extreme = rng.random(500) < 0.1
        found = driver(values, extreme)
        assert found.ks.value == pytest.approx(ks_2samp(values[extreme], values[~extreme]).statistic, abs=1e-12)


def test_difference_and_errors_have_the_right_size():
    rng = np.random.default_rng(1)
    extreme = np.arange(2000) < 100
    drawn = [driver(rng.normal(size=2000) + 0.8 * extreme, extreme) for _ in range(40)]
    differences = [d.difference.value for d in drawn]
    assert np.mean(differences) == pytest.approx(0.8, abs=0.06)
    assert np.std(differences) == pytest.approx(np.mean([d.difference.error for d in drawn]), rel=0.3)
    assert np.std([d.ks.value for d in drawn]) == pytest.approx(np.mean([d.ks.error for d in drawn]), rel=0.35)


def test_weights_count_like_copies_and_undefined_values_are_left_out():
    rng = np.random.default_rng(2)
    values, extreme, counts = rng.normal(size=300), rng.random(300) < 0.2, rng.integers(1, 4, 300)
    weighted = driver(values, extreme, counts.astype(float))
    copied = driver(np.repeat(values, counts), np.repeat(extreme, counts))
    assert weighted.ks.value == pytest.approx(copied.ks.value, abs=1e-12)
    assert weighted.difference.value == pytest.approx(copied.difference.value, abs=1e-12)
    holes = np.append(values, [np.nan, np.nan])
    assert driver(holes, np.append(extreme, [True, False])).ks.value == driver(values, extreme).ks.value
    assert np.isnan(driver(np.full(300, np.nan), extreme).ks.value)


def test_extreme_events_are_ordered_and_known():
    logs = np.array([0.3, np.nan, -2.0, 5.0, 1.0, 0.0, -1.0, 2.0])
    np.testing.assert_array_equal(extreme_events(logs, highest=True), [3, 7, 4, 0, 5])
    np.testing.assert_array_equal(extreme_events(logs, highest=False), [2, 6, 5, 0, 4])
    assert len(extreme_events(np.zeros(1000), highest=True)) == 50
