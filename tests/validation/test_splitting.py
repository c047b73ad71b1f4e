from __future__ import annotations

import numpy as np
import pytest

from validation.splitting import PARTS, choose_generated, condition_groups, split_groups


def test_events_that_share_a_condition_stay_together():
    energies = np.random.default_rng(0).uniform(1, 100, (500, 1)).astype(np.float32)
    generated = np.concatenate([energies, energies[::-1]]).astype(np.float64)  # two generated events each
    groups = condition_groups(energies.astype(np.float64), generated)
    first, second = split_groups(groups, seed=3)
    np.testing.assert_array_equal(first, second[:500])
    np.testing.assert_array_equal(first, second[500:][::-1])
    for part, share in enumerate(PARTS):
        assert np.mean(first == part) == pytest.approx(share, abs=0.01)


def test_further_conditions_separate_groups():
    a = np.array([[10.0, 0.1], [10.0, 0.2]])
    first, second = condition_groups(a, a[::-1].copy())
    assert len(np.unique(first)) == 2
    np.testing.assert_array_equal(first, second[::-1])


def test_fixed_energies_are_dealt_event_by_event():
    energies = np.repeat([[1.0], [2.0], [4.0]], 1000, axis=0)
    first, _ = split_groups(condition_groups(energies, energies), seed=0)
    for energy in (1.0, 2.0, 4.0):
        shares = np.bincount(first[energies[:, 0] == energy], minlength=3) / 1000
        np.testing.assert_allclose(shares, PARTS, atol=0.06)


def test_generated_events_at_the_conditions_of_the_other_half_come_first():
    reference = np.arange(1.0, 101.0)[:, None]
    a, b = reference[:50], reference[50:]
    generated = reference[::-1].copy()
    chosen = choose_generated(generated, a, b, 50, seed=0)
    np.testing.assert_array_equal(np.sort(generated[chosen, 0]), b[:, 0])
    more = choose_generated(np.concatenate([generated, [[500.0]]]), a, b, 51, seed=0)
    assert 100 in more  # its own condition, before those of half A
    fixed = np.full((100, 1), 10.0)
    assert len(np.unique(choose_generated(fixed, fixed[:40], fixed[:40], 40, seed=1))) == 40
