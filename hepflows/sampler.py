"""Sampling in tiles of 256 events that are aligned to the event index.

The noise of an event follows from (seed, index), and every evaluation has the same shape: the last tile is padded.
So an event is bit-identical on the CPU whatever the batch, shard or restart it is generated in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows.errors import ConditionError
from hepflows.philox import normal_noise
from hepflows.threads import in_parts, one_thread_here, torch_in_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TILE = 256


PIECE = 64 * TILE
"""Events that are evaluated together on a GPU."""

_ROUND = 4
"""Tiles a thread between two reports of progress; memory beside the result is that of `_ROUND` tiles a thread."""

Sampler = Callable[[torch.Tensor, torch.Tensor, slice], torch.Tensor]
"""Maps conditions (TILE, C), standard normal noise (TILE, Z) and the rows that are wanted to events (TILE, D)."""


def sample_in_tiles(
    sampler: Sampler,
    conditions: NDArray[np.float32],
    noise_dim: int,
    *,
    seed: int,
    first_event: int = 0,
    latents: NDArray[np.float32] | None = None,
    device: torch.device | str = "cpu",
    tile_done: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Evaluate `sampler` for all events.

    On the CPU tiles are evaluated side by side, each in one thread, as many as torch has threads.

    Args:
        sampler: maps conditions (256, C), standard normal noise (256, noise_dim) and a slice, the rows that are
            wanted, to events (256, D); what it gives for other rows is not looked at.
        conditions: shape (N, C), row i belongs to event first_event + i.
        noise_dim: normal numbers an event takes.
        seed: of the counter-based noise.
        first_event: index of the first event.
        latents: shape (N, noise_dim), taken instead of the noise that follows from the seed.
        device: where the sampler's parameters are.
        tile_done: called with the number of new events as they are made.

    Returns:
        Shape (N, D).

    Raises:
        ConditionError: latents of another shape.
    """
    if latents is not None and latents.shape != (len(conditions), noise_dim):
        raise ConditionError("wrong shape", where="latents", expected=(len(conditions), noise_dim), found=latents.shape)
    if len(conditions) == 0:
        with torch.no_grad():
            ones = torch.ones(TILE, conditions.shape[1], device=device)
            return sampler(ones, torch.zeros(TILE, noise_dim, device=device), slice(0, 0))[:0].cpu().numpy()

    def evaluate(start: int, rows: NDArray[np.intp], keep: slice) -> NDArray[np.float32]:
        padded = torch.from_numpy(np.ascontiguousarray(conditions[rows])).to(device)
        noise = np.zeros((len(rows), noise_dim), np.float32)
        if latents is None:
            noise[keep] = normal_noise(seed, start + keep.start, keep.stop - keep.start, noise_dim)
        else:
            noise[keep] = latents[rows[keep]]
        with torch.no_grad():
            events: NDArray[np.float32] = sampler(padded, torch.from_numpy(noise).to(device), keep).cpu().numpy()
        return events

    return evaluate_in_tiles(evaluate, first_event, len(conditions), device=device, tile_done=tile_done)


def evaluate_in_tiles(
    evaluate: Callable[[int, NDArray[np.intp], slice], NDArray[Any]],
    first_event: int,
    n: int,
    *,
    device: torch.device | str = "cpu",
    tile_done: Callable[[int], None] | None = None,
) -> NDArray[Any]:
    """Evaluate events in whole tiles and keep those that are wanted.

    On the CPU tiles are evaluated side by side, each in one thread, as many as torch has threads. Elsewhere nothing
    is padded, and many events are evaluated together: a GPU's results depend on the batch within rounding anyway, and
    its time hardly on the number of events.

    Args:
        evaluate: called with what `tiles` or `pieces` yield; gives as many rows as it gets row numbers.
        first_event: index of the first event.
        n: number of events, at least one.
        device: where `evaluate` computes.
        tile_done: called with the number of new events as they are made.

    Returns:
        Array of n rows.
    """
    on_cpu = torch.device(device).type == "cpu"
    wanted = list(tiles(first_event, n) if on_cpu else pieces(first_event, n))
    parts: dict[int, NDArray[Any]] = {}

    def evaluate_one(number: int) -> None:
        start, rows, keep = wanted[number]
        parts[number] = evaluate(start, rows, keep)[keep]

    result: NDArray[Any] = np.empty(0)
    filled = 0
    with torch_in_one_thread() as available:
        threads = available if on_cpu else 1
        for begin in range(0, len(wanted), threads * _ROUND):
            end = min(begin + threads * _ROUND, len(wanted))
            _side_by_side(evaluate_one, begin, end, threads)
            for number in range(begin, end):
                part = parts.pop(number)
                if filled == 0:
                    result = np.empty((n, *part.shape[1:]), part.dtype)
                result[filled : filled + len(part)] = part
                filled += len(part)
                if tile_done is not None:
                    tile_done(len(part))
    return result


def _side_by_side(evaluate: Callable[[int], None], begin: int, end: int, threads: int) -> None:
    """Evaluate tiles begin ... end - 1; those that do not fill all threads one by one, with all threads inside."""
    together = (end - begin) // threads * threads if threads > 1 else 0

    def work(first: int, last: int) -> None:
        one_thread_here()
        for number in range(begin + first, begin + last):
            evaluate(number)

    in_parts(work, together)
    for number in range(begin + together, end):
        evaluate(number)


def tiles(first_event: int, n: int) -> Iterator[tuple[int, NDArray[np.intp], slice]]:
    """Tiles that cover events first_event ... first_event + n - 1.

    Yields:
        Index of the tile's first event; 256 row numbers into the conditions (clamped where the tile reaches
        beyond them); the slice of the tile that is wanted.
    """
    if n == 0:
        return
    for start in range(first_event - first_event % TILE, first_event + n, TILE):
        rows = np.arange(start - first_event, start - first_event + TILE)
        keep = slice(max(0, -rows[0]), min(TILE, n - rows[0]))
        yield start, np.clip(rows, 0, n - 1), keep


def pieces(first_event: int, n: int) -> Iterator[tuple[int, NDArray[np.intp], slice]]:
    """Pieces of at most `PIECE` events, not padded; what `tiles` yields, with all rows wanted."""
    for start in range(0, n, PIECE):
        rows = np.arange(start, min(start + PIECE, n))
        yield first_event + start, rows, slice(0, len(rows))
