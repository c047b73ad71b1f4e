"""Noise is paired with points along the shortest paths, set by set, and stays the same set."""

from __future__ import annotations

from itertools import permutations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hepflows.pairing import paired_noise


def sets(seed, n=6, points=5, features=2):
    rng = torch.Generator().manual_seed(seed)
    return (torch.randn(n, points, features, generator=rng) for _ in range(2))


def cost(noise, points):
    return float((noise - points).square().sum())


def test_no_permutation_is_shorter():
    noise, points = sets(1)
    paired = paired_noise(noise, points, torch.full((6,), 5))
    for row in range(6):
        best = min(cost(noise[row, list(order)], points[row]) for order in permutations(range(5)))
        assert abs(cost(paired[row], points[row]) - best) < 1e-5


@given(st.integers(0, 2**31), st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_only_filled_points_move_and_the_set_stays(seed, filled):
    noise, points = sets(seed)
    paired = paired_noise(noise, points, torch.tensor(filled))
    for row, n in enumerate(filled):
        assert torch.equal(paired[row, n:], noise[row, n:])
        before, after = (set(map(tuple, v[row, :n].tolist())) for v in (noise, paired))
        assert before == after


def test_the_pairing_follows_permuted_points():
    noise, points = sets(2)
    order = torch.tensor([3, 0, 4, 2, 1])
    n = torch.full((6,), 5)
    torch.testing.assert_close(
        paired_noise(noise, points[:, order], n), paired_noise(noise, points, n)[:, order], rtol=0, atol=0
    )
