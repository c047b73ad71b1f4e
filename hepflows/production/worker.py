"""What a Dask worker does: one shard at a time, with a generator that it keeps between them."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path  # noqa: TC003 - workers unpickle it
from typing import TYPE_CHECKING, Any

from hepflows._version import __version__
from hepflows.errors import ConfigError, ProductionError
from hepflows.production.allocator import keep_freed_memory
from hepflows.production.batches import batch_size
from hepflows.production.conditions import GivenConditions
from hepflows.production.folder import REQUEST, Folder, open_folder
from hepflows.production.request import GeneratorRecord, Request, Source, require_generator
from hepflows.production.shard import make_shard, requested_conditions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from hepflows.generator import AnyGenerator
    from hepflows.production.folder import ShardRecord

_ONE_SHARD_AT_A_TIME = threading.Lock()
"""Dask runs a task in each thread of a worker, but the engine's threads are those of the process."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker must know of the production.

    Attributes:
        path: directory of the production, which every worker must see under this name.
        request: what is produced.
        source: the generator.
        device: torch device of the worker.
        threads: threads of the engine in a worker.
        batch: events a step, or None for a number that fits the device.
    """

    path: Path
    request: Request
    source: Source
    device: str
    threads: int
    batch: int | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a worker gives back.

    Attributes:
        record: of the finished shard.
        warnings: texts of the warnings that were given.
    """

    record: ShardRecord
    warnings: tuple[str, ...]


def make_on_worker(
    work: Work, bounds: tuple[int, int], given: Mapping[str, NDArray[np.floating[Any]]] | None
) -> Outcome:
    """Make one shard.

    Args:
        work: what is produced, and with what.
        bounds: first and last (exclusive) event.
        given: conditions of these events, if they are not drawn.

    Raises:
        ProductionError: this machine does not see the directory, or has another version of hepflows.
        ArtefactError: this machine has another generator under the same name.
        HepflowsError: what sampling and writing may raise.
    """
    from hepflows import registry

    keep_freed_memory()
    with _ONE_SHARD_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder = _folder(work)
        generator = _generator(work.source, work.request, work.device, work.threads)
        conditions = (
            requested_conditions(work.request, generator)
            if given is None
            else GivenConditions(n=work.request.n_events, values=given, first=bounds[0])
        )
        record = make_shard(
            folder,
            bounds,
            generator=generator,
            task=registry.task(generator.task),
            conditions=conditions,
            batch=batch_size(work.batch, work.device),
        )
    texts = {str(each.message): None for each in caught if issubclass(each.category, UserWarning)}
    return Outcome(record=record, warnings=tuple(texts))


def _folder(work: Work) -> Folder:
    if work.request.version != __version__:
        raise ProductionError(
            "this worker has another version of hepflows",
            where=_here(),
            expected=work.request.version,
            found=__version__,
            remedy="install the same version for client and workers",
        )
    if not (work.path / REQUEST).is_file() or open_folder(work.path).request != work.request:
        raise ProductionError(
            "this worker does not see the directory of the production",
            where=f"{_here()}: {work.path}",
            remedy="name an --out on a file system that all workers share",
        )
    return Folder(work.path, work.request)


def _generator(source: Source, request: Request, device: str, threads: int) -> AnyGenerator:
    from hepflows.commands.options import apply_threads, resolve_device

    apply_threads(threads)
    path = source.locate()
    if not path.exists():
        raise ConfigError(
            "this worker does not see the generator",
            where=f"{_here()}: {path}",
            remedy="put it on a file system that all workers share, or install it and use --model",
        )
    return _loaded(path, request.generator, resolve_device(device))


@lru_cache(maxsize=1)
def _loaded(path: Path, record: GeneratorRecord, device: str) -> AnyGenerator:
    """Load a generator; the last one is kept, for loading may take longer than a small shard."""
    from hepflows import registry

    require_generator(path, record)
    return registry.load(path, device=device)


def _here() -> str:
    from socket import gethostname

    return gethostname()
