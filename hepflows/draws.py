"""Random numbers of a training batch that is evaluated in parts.

A step of a training may evaluate its batch in parts: one on each of several processes, or one after the other where
memory is short. So that the result does not depend on the number of parts, each part draws the numbers of the whole
batch from torch's generator, which is seeded alike for all of them, and takes those of its own events. To draw is
cheap beside what is done with the numbers.

Example:
    >>> rows = torch.arange(6)
    >>> _ = torch.manual_seed(1)
    >>> whole = normal((6, 2))
    >>> _ = torch.manual_seed(1)
    >>> with part_of_batch(rows, 4, 6):
    ...     part = normal((2, 2))
    >>> torch.equal(part, whole[4:])
    True
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True)
class _Part:
    rows: Tensor
    first: int
    last: int


_current: ContextVar[_Part | None] = ContextVar("part_of_batch", default=None)


@contextmanager
def part_of_batch(rows: Tensor, first: int, last: int) -> Iterator[None]:
    """Within the block, events ``first ... last - 1`` of a batch are evaluated.

    Args:
        rows: indices of all events of the batch, shape (N,).
        first: first event of the part.
        last: event behind its last one; above `first`.
    """
    whole = first == 0 and last == len(rows)
    token = _current.set(None if whole else _Part(rows, first, last))
    try:
        yield
    finally:
        _current.reset(token)


def whole_batch(rows: Tensor) -> Tensor:
    """Indices of all events of the batch that these ones are a part of; `rows` itself outside `part_of_batch`."""
    part = _current.get()
    return rows if part is None else part.rows


def whole_size(count: int) -> int:
    """Number of rows that the whole batch has where the part has `count`."""
    part = _current.get()
    if part is None:
        return count
    copies, rest = divmod(count, part.last - part.first)
    return count if rest else copies * len(part.rows)


def of_whole_batch(count: int, draw: Callable[[int], Tensor]) -> Tensor:
    """`draw` as many rows as the whole batch has, and return the `count` rows of this part.

    Arrays with several rows an event, all events one after the other for each, are divided likewise. What has no row
    an event is drawn as it is, the same in each part.
    """
    part, total = _current.get(), whole_size(count)
    if part is None or total == count:
        return draw(count)
    each = draw(total)
    each = each.reshape(-1, len(part.rows), *each.shape[1:])
    return each[:, part.first : part.last].flatten(0, 1)


def normal(shape: Sequence[int], *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
    """Standard normal numbers, one row an event."""
    return of_whole_batch(shape[0], lambda n: torch.randn(n, *shape[1:], dtype=dtype, device=device))


def normal_like(x: Tensor) -> Tensor:
    """Standard normal numbers of the shape of `x`, one row an event."""
    return normal(x.shape, dtype=x.dtype, device=x.device)


def uniform_like(x: Tensor) -> Tensor:
    """Numbers in [0, 1) of the shape of `x`, one row an event."""
    return of_whole_batch(len(x), lambda n: torch.rand(n, *x.shape[1:], dtype=x.dtype, device=x.device))


def integers(below: int, count: int, *, device: torch.device | None = None) -> Tensor:
    """One of 0 ... below - 1 for each of `count` events."""
    return of_whole_batch(count, lambda n: torch.randint(below, (n,), device=device))


def strata(count: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers in [0, 1), one in each of N intervals of equal width for the N events of the batch, in random order."""

    def draw(n: int) -> Tensor:
        order = torch.randperm(n, device=device)
        return ((order + torch.rand(n, device=device)) / n).to(dtype)

    return of_whole_batch(count, draw)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` of a batch that may be evaluated in parts."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Set elements to zero at random, in training mode."""
        if not self.training or whole_size(len(input)) == len(input):
            return super().forward(input)
        shape = input.shape[1:]
        factors = of_whole_batch(len(input), lambda n: F.dropout(input.new_ones(n, *shape), self.p))
        return input * factors
