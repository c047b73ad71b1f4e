from __future__ import annotations

import numpy as np
import pytest

from hepflows.splitting import (
    PARTS,
    choose_generated,
    condition_groups,
    fold_parts,
    split_groups,
    thin_training,
)


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


def test_folds_rotate_and_keep_groups_whole():
    groups = (np.arange(90) // 3, np.arange(60) // 2)
    parts = [np.concatenate(fold_parts(groups, folds=5, test=t, seed=1)) for t in range(5)]
    everything = np.concatenate(groups)
    np.testing.assert_array_equal(sum((p == 2).astype(int) for p in parts), 1)
    np.testing.assert_array_equal(sum((p == 1).astype(int) for p in parts), 1)
    for part in parts:
        for group in range(30):
            assert len(np.unique(part[everything == group])) == 1
        assert np.mean(part == 2) == pytest.approx(0.2, abs=0.02)


def test_thinned_training_is_nested_and_whole_in_its_groups():
    groups = np.arange(600) // 2
    part = split_groups((groups,), seed=0)[0]
    kept = {}
    for share in (1.0, 0.5, 0.125):
        thin = thin_training(part, groups, share=share, seed=4)
        np.testing.assert_array_equal(thin[part != 0], part[part != 0])
        kept[share] = set(np.flatnonzero(thin == 0))
        assert len(kept[share]) == pytest.approx(share * np.sum(part == 0), abs=2)
        assert all(member ^ 1 in kept[share] for member in kept[share])
    assert kept[0.125] < kept[0.5] < kept[1.0]
