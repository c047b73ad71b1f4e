"""Training on events that do not fit into memory: an order that a buffer can serve, and the buffer.

Neighbouring events of a file make blocks. In every epoch the blocks are put in random order, so many of them as fill
the buffer make a pool, and the events of a pool are shuffled: batches mix events from all over the file, while each
block is read once an epoch. The order follows from seed and epoch, so a stopped training continues anywhere in it.

Example:
    >>> rows = StreamedRows(lambda first, last: np.arange(first, last)[:, None], 100, buffer=32)
    >>> order = rows.order(0, seed=1)
    >>> sorted(order.tolist()) == list(range(100))
    True
    >>> rows.take(order[:4]).squeeze(1).tolist() == order[:4].tolist()
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from hepflows.train.seeding import generator_of
from hepflows.train.split import chosen_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

_BLOCKS: Final = 16  # of a pool: more mix better, fewer read longer pieces


class StreamedRows:
    """Rows of an array that is read in blocks, of which as many are kept as fit into a buffer.

    Args:
        read: gives the rows from a first one to the one behind a last one, shape (m, ...).
        count: number of rows.
        buffer: largest number of rows that are kept.
    """

    def __init__(self, read: Callable[[int, int], NDArray[Any]], count: int, *, buffer: int) -> None:
        self._read, self._count = read, count
        self._block = max(1, buffer // _BLOCKS)
        self._most = max(1, buffer // self._block)
        self._kept: dict[int, Tensor] = {}  # the block used last is the last one

    @property
    def resident(self) -> int:
        """Number of rows in memory."""
        return sum(map(len, self._kept.values()))

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read all blocks in turn without keeping them: the number of the first row, and the rows."""
        for first in range(0, self._count, self._block):
            yield first, self._read(first, min(first + self._block, self._count))

    def order(self, epoch: int, *, seed: int) -> Tensor:
        """All row numbers, shuffled within pools of blocks."""
        generator = generator_of(seed, "blocks", epoch)
        rows = torch.arange(self._count)
        blocks = rows.split(self._block)
        drawn = [blocks[number] for number in torch.randperm(len(blocks), generator=generator).tolist()]
        pools = [torch.cat(drawn[first : first + self._most]) for first in range(0, len(drawn), self._most)]
        return torch.cat([pool[torch.randperm(len(pool), generator=generator)] for pool in pools])

    def take(self, index: Tensor) -> Tensor:
        """The rows with these numbers, in this order; blocks that are needed are read, others make room for them."""
        numbers = torch.div(index, self._block, rounding_mode="floor")
        needed = numbers.unique().tolist()
        out: Tensor | None = None
        for number in sorted(needed, key=lambda one: one not in self._kept):
            here = (numbers == number).nonzero().squeeze(1)
            found = self._load(number)[index[here] - number * self._block]
            if out is None:
                out = found.new_empty((len(index), *found.shape[1:]))
            out[here] = found
        if out is None:
            raise ValueError("no rows are wanted")
        return out

    def _load(self, number: int) -> Tensor:
        block = self._kept.pop(number, None)
        if block is None:
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            first = number * self._block
            rows = self._read(first, min(first + self._block, self._count))
            block = torch.from_numpy(np.ascontiguousarray(rows))
        self._kept[number] = block
        return block


def sample_rows(rows: StreamedRows, count: int, size: int, *, seed: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Go through all rows once, and choose some of them at random.

    Args:
        rows: what is read.
        count: number of its rows.
        size: how many are chosen, all if there are fewer.
        seed: of the choice.

    Yields:
        For each block its rows, and which of them are chosen (row numbers within the block, rising).
    """
    chosen = chosen_rows(count, size, seed=seed)
    for first, block in rows.blocks():
        here = chosen[(chosen >= first) & (chosen < first + len(block))]
        yield block, here - first
