"""The buffer of a training on data larger than memory: every event once an epoch, a bounded number in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepflows.train.streaming import StreamedRows, sample_rows


class _File:
    """Rows 0, 1, 2 ...; counts what is read."""

    def __init__(self, count: int) -> None:
        self.count, self.calls, self.n_read = count, 0, 0

    def read(self, first: int, last: int) -> np.ndarray:
        assert 0 <= first < last <= self.count
        self.calls += 1
        self.n_read += last - first
        return np.arange(first, last, dtype=np.float32)[:, None]


@pytest.mark.parametrize(("count", "buffer"), [(1000, 160), (1003, 160), (1000, 100), (50, 160), (7, 3), (100, 1)])
def test_an_epoch_has_every_row_once_and_reads_each_block_once(count: int, buffer: int) -> None:
    file = _File(count)
    rows = StreamedRows(file.read, count, buffer=buffer)
    for epoch in (0, 1):
        order = rows.order(epoch, seed=3)
        assert torch.equal(order.sort().values, torch.arange(count))
        read = file.n_read
        for index in order.split(30):
            assert torch.equal(rows.take(index)[:, 0], index.float())
            assert rows.resident <= buffer
        assert file.n_read - read <= count


def test_orders_follow_from_seed_and_epoch() -> None:
    rows, again = (StreamedRows(_File(500).read, 500, buffer=64) for _ in range(2))
    first = rows.order(0, seed=1)
    assert torch.equal(first, again.order(0, seed=1))
    assert not torch.equal(first, rows.order(1, seed=1))
    assert not torch.equal(first, rows.order(0, seed=2))


def test_a_buffer_mixes_all_parts_of_a_sorted_file() -> None:
    """The mean of a pool differs from that of the file as that of random blocks, not as that of neighbours."""
    rows = StreamedRows(_File(100_000).read, 100_000, buffer=10_000)
    pools = rows.order(0, seed=1).double().split(10_000)
    spread = torch.stack([pool.mean() for pool in pools]).std()
    assert float(spread) < 0.5 * 100_000 / 12**0.5
    assert all(float(pool.std()) > 0.5 * 100_000 / 12**0.5 for pool in pools)


def test_rows_are_found_in_any_order() -> None:
    rows = StreamedRows(_File(300).read, 300, buffer=32)
    index = torch.tensor([299, 0, 150, 0, 77])
    assert torch.equal(rows.take(index)[:, 0], index.float())
    assert rows.resident <= 32


def test_a_sample_takes_every_row_at_most_once() -> None:
    file = _File(1000)
    rows = StreamedRows(file.read, 1000, buffer=100)
    taken = np.concatenate([block[chosen, 0] for block, chosen in sample_rows(rows, 1000, 100, seed=2)])
    assert len(np.unique(taken)) == len(taken) == 100
    assert file.n_read == 1000
    assert rows.resident == 0
    assert 300 < taken.mean() < 700
