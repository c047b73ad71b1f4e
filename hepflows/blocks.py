"""Chunks of events cut anew, so that what is written does not depend on how the events were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


class Divisible(Protocol):
    """A container of events that can be cut."""

    def __len__(self) -> int:
        """Number of events."""
        ...

    def select(self, index: slice, /) -> Self:
        """The events of a slice."""
        ...


EventsT = TypeVar("EventsT", bound=Divisible)


def in_blocks(
    chunks: Iterable[EventsT], n: int, concatenate: Callable[[Sequence[EventsT]], EventsT]
) -> Iterator[EventsT]:
    """Yield the same events in the same order, n at a time; the last block has the rest.

    Args:
        chunks: events in chunks of any sizes.
        n: events of a block, at least one.
        concatenate: puts events one after the other.
    """
    pending: list[EventsT] = []
    held = 0
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            stop = min(start + n - held, len(chunk))
            pending.append(chunk if stop - start == len(chunk) else chunk.select(slice(start, stop)))
            held, start = held + stop - start, stop
            if held == n:
                yield pending[0] if len(pending) == 1 else concatenate(pending)
                pending, held = [], 0
    if pending:
        yield pending[0] if len(pending) == 1 else concatenate(pending)
