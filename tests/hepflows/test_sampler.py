"""Tiles: complete, aligned to the event index, and independent of how events are split."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation
from hepflows.sampler import PIECE, TILE, evaluate_in_tiles, sample_in_tiles, tiles
from hepflows.splines import SplineSettings


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


def _sampler(cond: torch.Tensor, noise: torch.Tensor, rows: slice) -> torch.Tensor:
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


def _flow() -> ConditionalFlow:
    torch.manual_seed(3)
    spline = SplineSettings(bins=4, bound=6.0)
    generator = torch.Generator().manual_seed(1)
    blocks = [
        MaskedAutoregressive(33, 1, [20, 20], spline),
        Permutation(torch.randperm(33)),
        InverseAutoregressive(33, 1, [20], spline),
        *coupling_blocks(33, partial(SplineCoupling, 33, 1, spline, width=17), blocks=2, generator=generator),
    ]
    flow = ConditionalFlow(blocks).eval()
    for name, parameter in flow.named_parameters():
        if "output.weight" in name or "exit.weight" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return flow


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_flow_gives_the_same_bits_for_any_threads_and_batch(threads: int) -> None:
    flow, before = _flow(), torch.get_num_threads()
    conditions = np.linspace(-1, 1, 2100, dtype=np.float32)[:, None]

    def sampler(cond: torch.Tensor, noise: torch.Tensor, rows: slice) -> torch.Tensor:
        return flow.sample(noise, cond, rows=rows)

    expected = sample_in_tiles(sampler, conditions, 33, seed=5)
    try:
        torch.set_num_threads(threads)
        done: list[int] = []
        found = sample_in_tiles(sampler, conditions, 33, seed=5, tile_done=done.append)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found, expected)
    assert sum(done) == 2100
    for first, n in ((0, 1), (700, 1), (255, 2), (513, 40), (600, 150)):
        few = sample_in_tiles(sampler, conditions[first : first + n], 33, seed=5, first_event=first)
        assert np.array_equal(few, expected[first : first + n])


@given(first=st.integers(0, 2000), n=st.integers(1, 3 * PIECE))
@settings(deadline=None, max_examples=20)
def test_a_gpu_gets_large_pieces_that_cover_each_event_once(first: int, n: int) -> None:
    sizes: list[int] = []

    def evaluate(start: int, rows: np.ndarray, keep: slice) -> np.ndarray:
        sizes.append(len(rows))
        assert keep == slice(0, len(rows))
        return np.stack([start + np.arange(len(rows)), rows], axis=1)

    found = evaluate_in_tiles(evaluate, first, n, device="cuda")
    assert np.array_equal(found[:, 0], np.arange(first, first + n))
    assert np.array_equal(found[:, 1], np.arange(n))
    assert len(sizes) == -(-n // PIECE)


def test_only_wanted_rows_are_evaluated() -> None:
    flow = _flow()
    noise, context = torch.randn(256, 33), torch.ones(256, 1)
    with torch.no_grad():
        some = flow.sample(noise, context, rows=slice(10, 30))
        assert torch.equal(some[10:30], flow.sample(noise, context)[10:30])
        assert not some[:10].any()
        assert not some[30:].any()


def test_rows_change_nothing_where_gradients_are_wanted() -> None:
    flow = _flow()
    noise, context = torch.randn(8, 33), torch.ones(8, 1)
    assert torch.equal(flow.sample(noise, context, rows=slice(2, 3)), flow.sample(noise, context))


def test_an_error_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def broken(cond: torch.Tensor, noise: torch.Tensor, rows: slice) -> torch.Tensor:
        raise ArithmeticError

    try:
        with pytest.raises(ArithmeticError):
            sample_in_tiles(broken, np.ones((1024, 1), np.float32), 33, seed=5)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu() -> None:
    conditions = np.ones((300, 1), np.float32)

    def on_device(cond: torch.Tensor, noise: torch.Tensor, rows: slice) -> torch.Tensor:
        return _sampler(cond.cpu(), noise.cpu(), rows).to(cond.device)

    cpu = sample_in_tiles(_sampler, conditions, 33, seed=5)
    gpu = sample_in_tiles(on_device, conditions, 33, seed=5, device="cuda")
    np.testing.assert_allclose(gpu, cpu, rtol=1e-5, atol=1e-5)
