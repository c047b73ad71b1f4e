"""Sampling in tiles of 256 events that are aligned to the event index.

The noise of an event follows from (seed, index), and every evaluation has the same shape: the last tile is padded.
So an event is bit-identical on the CPU whatever the batch, shard or restart it is generated in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.philox import normal_noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

TILE = 256


def sample_in_tiles(
    sampler: Callable[[Tensor, Tensor], Tensor],
    conditions: NDArray[np.float32],
    noise_dim: int,
    *,
    seed: int,
    first_event: int = 0,
    device: torch.device | str = "cpu",
    tile_done: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Evaluate `sampler(conditions, noise)` for all events.

    Args:
        sampler: maps conditions (M, C) and standard normal noise (M, noise_dim) to events (M, D).
        conditions: shape (N, C), row i belongs to event first_event + i.
        noise_dim: normal numbers an event takes.
        seed: of the counter-based noise.
        first_event: index of the first event.
        device: where the sampler's parameters are.
        tile_done: called with the number of new events after each tile.

    Returns:
        Shape (N, D).
    """
    parts = []
    for start, rows, keep in tiles(first_event, len(conditions)):
        padded = np.ascontiguousarray(conditions[rows])
        noise = normal_noise(seed, start, TILE, noise_dim)
        with torch.no_grad():
            events = sampler(torch.from_numpy(padded).to(device), torch.from_numpy(noise).to(device))
        parts.append(events[keep].cpu().numpy())
        if tile_done is not None:
            tile_done(len(parts[-1]))
    if not parts:
        with torch.no_grad():
            events = sampler(
                torch.ones(1, conditions.shape[1], device=device), torch.zeros(1, noise_dim, device=device)
            )
        return events[:0].cpu().numpy()
    return np.concatenate(parts)


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
