"""Events of a share, batch by batch; a batch that does not fit into memory is halved."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from hepflows.errors import ConfigError, ResourceError
from hepflows.memory_errors import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepflows.generator import AnyGenerator
    from hepflows.out_of_range import OutOfRange
    from hepflows.production.conditions import Conditions
    from hepflows.train.progress import Stage

TILE = 256
"""Events that the engine evaluates together; shards and batches begin at multiples of it."""

_BATCH_A_THREAD = 4 * TILE
_BATCH_ON_GPU = 64 * TILE


def batch_size(batch: int | None, device: str) -> int:
    """Events a step: as asked, or enough to fill threads or GPU; whole tiles."""
    if batch is None:
        import torch

        batch = _BATCH_ON_GPU if device != "cpu" else _BATCH_A_THREAD * torch.get_num_threads()
    return -(-batch // TILE) * TILE


def sampled(
    generator: AnyGenerator,
    conditions: Conditions,
    *,
    seed: int,
    bounds: tuple[int, int],
    batch: int,
    out_of_range: OutOfRange = "error",
    stage: Stage | None = None,
) -> Iterator[Any]:
    """Yield the events of a share in batches.

    Args:
        generator: what is sampled.
        conditions: of the whole sample.
        seed: of the sample.
        bounds: first and last (exclusive) event of the share; the first one is a multiple of 256.
        batch: events a step, a multiple of 256. With a warning it is halved, for good, whenever memory is exhausted;
            the events do not depend on it.
        out_of_range: see `Generator.sample`.
        stage: counts events.

    Raises:
        ResourceError: 256 events do not fit into memory.
    """
    start = bounds[0]
    while start < bounds[1]:
        stop = min(start + batch, bounds[1])
        try:
            events = generator.sample(
                conditions.part(start, stop), n=stop - start, seed=seed, first_event=start, out_of_range=out_of_range
            )
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            batch = _halved(stop - start, error)
            continue
        yield events
        del events  # else it would stay while the next batch is made
        if stage is not None:
            stage.advance(stop - start)
        start = stop


def shard_bounds(total: int, shard: str | None, *, tile: int = TILE) -> tuple[int, int]:
    """First and last (exclusive) event of one share of a sample, in whole tiles of `tile` events.

    Raises:
        ConfigError: the share is not of the form k/n with 1 <= k <= n, or it would be empty.
    """
    if shard is None:
        return 0, total
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(
            "not a share", where="--shard", expected="k/n with k from 1 to n, 3/100 for example", found=shard
        )
    tiles = -(-total // tile)
    first = min(total, tiles * (int(number) - 1) // int(count) * tile)
    last = min(total, tiles * int(number) // int(count) * tile)
    if first == last:
        raise ConfigError(
            "this share has no events",
            where=f"--shard {shard}",
            expected=f"at most {tiles} shares (of {tile} events)",
        )
    return first, last


def _halved(count: int, error: Exception) -> int:
    """Half of `count` events in whole tiles, with a warning; gives back what a GPU's allocator holds in reserve.

    Raises:
        ResourceError: there is nothing to halve.
    """
    if count <= TILE:
        raise ResourceError(
            f"memory is exhausted by {count} events",
            found=str(error) or type(error).__name__,
            remedy="end other programs, use fewer --threads or another --device",
        ) from error
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    batch = -(-count // (2 * TILE)) * TILE
    warnings.warn(f"memory is exhausted by a batch of {count} events: going on with {batch}", stacklevel=3)
    return batch
