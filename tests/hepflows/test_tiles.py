"""Tiles of samples: complete, and chosen by what threads can share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepflows.tiles import NARROW, TILE, rectify, tiles_of, transpose, transpose_back

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
@given(count=st.integers(0, 5000), threads=st.integers(1, 8))
def test_tiles_cover_each_sample_once(count: int, threads: int) -> None:
    torch.set_num_threads(threads)
    tiles = tiles_of(count)
    ends = np.minimum(tiles.sum(1), count)
    assert np.array_equal(tiles[:, 0], np.concatenate([[0], ends[:-1]]) if len(tiles) else [])
    assert (ends[-1] if len(tiles) else 0) == count
    assert set(tiles[:, 1]) <= {NARROW, TILE}
    # no more padding than one tile's
    assert tiles[:, 1].sum() - count < TILE


@pytest.mark.usefixtures("_threads")
def test_few_samples_take_narrow_tiles_and_many_take_wide_ones() -> None:
    torch.set_num_threads(1)
    assert tiles_of(1).tolist() == [[0, NARROW]]
    assert tiles_of(100).tolist() == [[0, TILE]]
    assert tiles_of(TILE + 5).tolist() == [[0, TILE], [TILE, NARROW]]
    torch.set_num_threads(4)
    assert set(tiles_of(100)[:, 1]) == {NARROW}
    assert set(tiles_of(100 * TILE)[:, 1]) == {TILE}


@pytest.mark.parametrize("width", [NARROW, TILE])
def test_transposition_and_back(width: int) -> None:
    table = np.random.default_rng(0).normal(size=(40, 21)).astype(np.float32)
    count = min(width, 40 - 3)
    rows = np.full(21 * width, np.nan, np.float32)
    transpose(table, 3, count, 0, 21, rows, width)
    assert np.array_equal(rows.reshape(21, width)[:, :count], table[3 : 3 + count].T)
    assert not rows.reshape(21, width)[:, count:].any()
    back = np.zeros((40, 25), np.float32)
    transpose_back(rows, 3, count, 4, back, width)
    assert np.array_equal(back[3 : 3 + count, 4:], table[3 : 3 + count])
    assert not back[:, :4].any()


def test_relu_keeps_nan() -> None:
    values = np.array([-1.0, 0.0, 2.0, np.nan, -np.inf], np.float32)
    rectify(values)
    np.testing.assert_array_equal(values, [0, 0, 2, np.nan, 0])
