"""Shards made by the workers of a Dask cluster.

The scheduler never holds more than a few tasks a worker, and a task is a shard's first and last event; what comes back
is the shard's record. So neither the scheduler's nor the client's memory grows with the number of events.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepflows.errors import (
    ConfigError,
    HepflowsError,
    MissingDependencyError,
    OutputError,
    ProductionError,
    ResourceError,
)
from hepflows.production.worker import make_on_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from hepflows.production.conditions import Conditions
    from hepflows.production.folder import Folder
    from hepflows.production.request import Request
    from hepflows.production.worker import Work
    from hepflows.train.progress import Reporter, Stage

TRIES = 3
"""How often a shard is tried that failed for a reason other than bad input."""

_TASKS_A_THREAD = 2
_LEAST_TASKS = 4
_CONNECT_SECONDS = 30


def run_on_cluster(
    client: Any,
    work: Work,
    folder: Folder,
    conditions: Conditions,
    *,
    share: tuple[int, int],
    stage: Stage,
    reporter: Reporter,
) -> None:
    """Have the missing shards of a share made.

    A worker that dies is survived: Dask gives its shard to another one, and so do we when Dask gives up.

    Args:
        client: a `distributed.Client`.
        work: what to tell the workers.
        folder: the production.
        conditions: of the whole production; drawn ones are drawn by the workers, others are sent with their shards.
        share: first and last (exclusive) event.
        stage: counts events.
        reporter: shows messages.

    Raises:
        HepflowsError: what a worker met.
        ProductionError: a shard failed several times.
    """
    from distributed import as_completed
    from distributed.comm import CommClosedError

    missing = folder.missing(share)
    tries: Counter[tuple[int, int]] = Counter()
    waiting: dict[Any, tuple[int, int]] = {}
    completed = as_completed()

    def submit(bounds: tuple[int, int]) -> None:
        tries[bounds] += 1
        future = client.submit(
            make_on_worker,
            work,
            bounds,
            given_to_worker(work.request, conditions, bounds),
            pure=False,
            key=f"{work.request.generator.name}-{folder.file(bounds).name}-{tries[bounds]}-{id(waiting):x}",
        )
        waiting[future] = bounds
        completed.add(future)

    def fill() -> None:
        room = max(_LEAST_TASKS, _TASKS_A_THREAD * sum(client.nthreads().values())) - len(waiting)
        while room > 0 and (bounds := next(missing, None)) is not None:
            submit(bounds)
            room -= 1

    try:
        fill()
        if not client.nthreads():
            reporter.message("no worker is there yet, waiting for one")
        for future in completed:
            bounds = waiting.pop(future)
            if future.status == "finished":
                outcome = future.result()
                for text in outcome.warnings:
                    warnings.warn(text, stacklevel=2)
                del tries[bounds]
                stage.advance(bounds[1] - bounds[0])
            else:
                _refuse(future, folder.file(bounds), tries[bounds])
                submit(bounds)
            del future
            fill()
    except CommClosedError as error:
        raise _scheduler_lost(folder.path, error) from error
    finally:
        with contextlib.suppress(CommClosedError):
            client.cancel(list(waiting))


def _refuse(future: Any, file: Path, tries: int) -> None:
    """Raise the error of a task that it makes no sense to repeat: bad input fails everywhere, a disk here and there."""
    if future.status != "error":  # cancelled or lost, which only happens behind our back
        raise _scheduler_lost(file, future.status)
    error = future.exception()
    of_machine = isinstance(error, OutputError | ResourceError) or not isinstance(error, HepflowsError)
    if of_machine and tries < TRIES:
        return
    if isinstance(error, HepflowsError):
        raise error
    raise ProductionError(
        "a shard failed on several workers",
        where=file,
        found=f"{type(error).__name__}: {error}",
        remedy="see the workers' logs; finished shards are kept, --resume continues",
    ) from error


def _scheduler_lost(where: Path, found: object) -> ProductionError:
    return ProductionError(
        "the scheduler was lost",
        where=where,
        found=str(found),
        remedy="start it and its workers again; finished shards are kept, --resume continues",
    )


def given_to_worker(
    request: Request, conditions: Conditions, bounds: tuple[int, int]
) -> Mapping[str, NDArray[np.floating[Any]]] | None:
    """Conditions that a worker cannot draw by itself."""
    return None if request.given is None else conditions.part(*bounds)


@contextlib.contextmanager
def connected(address: str, *, threads: int | None) -> Iterator[Any]:
    """Connect to a cluster: ``local`` or ``local:4`` starts one, ``tcp://...`` and scheduler files name one.

    Yields:
        A `distributed.Client`.

    Raises:
        MissingDependencyError: dask.distributed is not installed.
        ConfigError: the address is not one, or no scheduler answers there.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingDependencyError(
            "--dask needs dask.distributed", remedy='pip install "hepflows[dask]", or give jobs shares with --shard k/n'
        ) from None
    with contextlib.ExitStack() as stack:
        if (workers := local_workers(address, threads)) is not None:
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=":0",
                    memory_limit=0,  # what a shard takes does not grow, and nothing is kept
                    silence_logs=logging.ERROR,
                )
            )
            yield stack.enter_context(Client(cluster))
            return
        named = {"scheduler_file": address} if "://" not in address else {"address": address}
        try:
            client = Client(**named, timeout=_CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise ConfigError(
                "no scheduler answers",
                where=f"--dask {address}",
                found=str(error),
                remedy="start one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`",
            ) from error
        yield stack.enter_context(client)


def local_workers(address: str, threads: int | None) -> int | None:
    """Worker processes of a cluster on this machine, or None if another one is meant.

    Raises:
        ConfigError: not an address.
    """
    kind, _, count = address.partition(":")
    if kind == "local" and not count and ":" not in address:
        from os import cpu_count

        return max(1, (cpu_count() or 1) // (threads or 1))
    if kind == "local" and count.isdecimal() and int(count) > 0:
        return int(count)
    if "://" not in address and not Path(address).is_file():
        raise ConfigError(
            "not a Dask cluster",
            where="--dask",
            expected="local, local:4 (worker processes), tcp://host:8786, or a scheduler file",
            found=address,
        )
    return None
