"""Processes that simulate blocks of events.

Geant4 runs in processes of its own even if there is only one: it cannot be set up twice in a process, and it
ends the process when it is unhappy, which must not be the user's.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calofast.detector import detector
from calofast.truth import simulate_events
from hepflows.errors import HepflowsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from calofast.truth_blocks import Blocks
    from calofast.truth_engine import OpenEngine

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0


class SimulationError(HepflowsError):
    """A worker process of a simulation died."""

    exit_code = 3


@dataclass(frozen=True)
class _Failure:
    """What went wrong in a worker."""

    error: BaseException


def run_blocks(kept: Blocks, open_engine: OpenEngine, *, processes: int) -> Iterator[int]:
    """Simulate the missing blocks and keep them.

    Args:
        kept: where blocks are kept, and what to simulate.
        open_engine: makes the engine in each process.
        processes: number of worker processes.

    Yields:
        The number of events of each block when it is finished, in any order.

    Raises:
        HepflowsError: what a worker met.
        SimulationError: a worker died.
    """
    context = multiprocessing.get_context("spawn")
    missing = kept.missing
    tasks: Any = context.Queue()
    reports: Any = context.Queue()
    count = min(processes, len(missing))
    for bounds in (*missing, *[None] * count):
        tasks.put(bounds)
    workers = [
        context.Process(target=_work, args=(kept, open_engine, tasks, reports), daemon=True) for _ in range(count)
    ]
    try:
        for worker in workers:
            worker.start()
        for _ in missing:
            yield _next_report(reports, workers)
        for worker in workers:
            worker.join(_PATIENCE_SECONDS)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.kill()  # a shower of 1 TeV takes minutes, and nobody needs it any more
                worker.join()
        tasks.cancel_join_thread()


def _next_report(reports: Any, workers: list[Any]) -> int:
    while True:
        try:
            report = reports.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            dead = [worker for worker in workers if worker.exitcode]
            if dead and reports.empty():
                raise SimulationError(
                    "a simulating process died",
                    found=_ending(dead[0].exitcode),
                    remedy="see what Geant4 said above; finished blocks are kept, --resume continues",
                ) from None
            continue
        if isinstance(report, _Failure):
            raise report.error
        return int(report)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _work(kept: Blocks, open_engine: OpenEngine, tasks: Any, reports: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    parent = multiprocessing.parent_process()
    request = kept.request
    try:
        engine = open_engine(detector(request.detector), request.pdg, request.physics)
        while (bounds := tasks.get()) is not None:
            if parent is not None and not parent.is_alive():
                return
            kept.keep(bounds, simulate_events(engine, request, *bounds))
            reports.put(bounds[1] - bounds[0])
    except HepflowsError as error:
        reports.put(_Failure(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the user must learn of it
        reports.put(_Failure(SimulationError("a simulating process failed", found=f"{type(error).__name__}: {error}")))
