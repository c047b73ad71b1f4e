"""Tiles: complete, aligned to the event index, and independent of how events are split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows.sampler import TILE, sample_in_tiles, tiles


@given(first=st.integers(0, 2000), n=st.integers(0, 1500))
def test_tiles_cover_each_event_once(first: int, n: int) -> None:
    seen: list[int] = []
    for start, rows, keep in tiles(first, n):
        assert start % TILE == 0
        assert len(rows) == TILE
        kept = np.arange(start, start + TILE)[keep]
        assert np.array_equal(rows[keep], kept - first)
        seen += kept.tolist()
    assert seen == list(range(first, first + n))


def _sampler(cond: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    weight = torch.linspace(-1, 1, 33 * 40).view(33, 40)
    return torch.tanh(noise @ weight) * cond


@given(n=st.integers(1, 700), data=st.data())
@settings(deadline=None, max_examples=20)
def test_any_split_is_bit_identical(n: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, n))
    conditions = np.linspace(1, 2, n, dtype=np.float32)[:, None]
    whole = sample_in_tiles(_sampler, conditions, 33, seed=5)
    first = sample_in_tiles(_sampler, conditions[:cut], 33, seed=5)
    second = sample_in_tiles(_sampler, conditions[cut:], 33, seed=5, first_event=cut)
    assert np.array_equal(whole, np.concatenate([first, second]))
    assert whole.shape == (n, 40)


def test_no_events_give_an_empty_array_of_the_right_width() -> None:
    assert sample_in_tiles(_sampler, np.empty((0, 1), np.float32), 33, seed=1).shape == (0, 40)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu() -> None:
    conditions = np.ones((300, 1), np.float32)

    def on_device(cond: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return _sampler(cond.cpu(), noise.cpu()).to(cond.device)

    cpu = sample_in_tiles(_sampler, conditions, 33, seed=5)
    gpu = sample_in_tiles(on_device, conditions, 33, seed=5, device="cuda")
    np.testing.assert_allclose(gpu, cpu, rtol=1e-5, atol=1e-5)
