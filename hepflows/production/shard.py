"""One shard: sampled, written, recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepflows.production.batches import sampled
from hepflows.production.conditions import DrawnConditions, check_conditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hepflows.generator import AnyGenerator
    from hepflows.production.conditions import Conditions
    from hepflows.production.folder import Folder, ShardRecord
    from hepflows.production.request import Request
    from hepflows.task import AnyTask
    from hepflows.train.progress import Stage


def requested_conditions(request: Request, generator: AnyGenerator) -> DrawnConditions:
    """Conditions that follow from seed and ranges."""
    return DrawnConditions(n=request.n_events, generator=generator, seed=request.seed, ranges=request.ranges)


def make_shard(
    folder: Folder,
    bounds: tuple[int, int],
    *,
    generator: AnyGenerator,
    task: AnyTask,
    conditions: Conditions,
    batch: int,
    stage: Stage | None = None,
) -> ShardRecord:
    """Sample the events of a shard, write its file, and record it.

    A file without record counts as not there, so that at no time an unfinished shard can be taken for a finished one.

    Args:
        folder: the production.
        bounds: first and last (exclusive) event.
        generator: what is sampled.
        task: that of the generator; writes the file.
        conditions: of the whole production, or at least of the shard.
        batch: events a step.
        stage: counts events.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
        ProductionError: somebody has removed the production meanwhile.
        ConditionError: conditions are outside the trained range.
    """
    request = folder.request
    folder.clean(bounds)
    if request.out_of_range == "error":
        check_conditions(generator, conditions, bounds)
    batches = _Counted(
        folder,
        sampled(
            generator,
            conditions,
            seed=request.seed,
            bounds=bounds,
            batch=batch,
            out_of_range=request.out_of_range,
            stage=stage,
        ),
    )
    task.write(batches, folder.file(bounds), force=True)
    return folder.keep(bounds, batches.n)


class _Counted:
    """Batches, and the number of events in those that were taken."""

    def __init__(self, folder: Folder, batches: Iterable[Any]) -> None:
        self._folder, self._batches, self.n = folder, batches, 0

    def __iter__(self) -> Iterator[Any]:
        for events in self._batches:
            # Dask cannot stop a task that runs: it must not bring back a directory that its client has removed
            self._folder.require_mine()
            self.n += len(events)
            yield events
