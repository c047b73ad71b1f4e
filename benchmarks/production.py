"""Bulk generation: events a second and worker, of one process and of Dask workers that write shards.

python -m benchmarks.production runs/eplus/student
python -m benchmarks.production runs/eplus/student --events 65536 --workers 1 2 --repeat 3 --json production.json

Each figure is the median of some repeats, after a first production in which workers load the generator and compile. All
of them sample, write HDF5 and hash, with one thread a process. The last column is the rate of one worker over that of
the single process; core hours follow from the rate of the largest number of workers.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hepflows.benchmarking.machine import describe_machine
from hepflows.benchmarking.tables import table, write_json
from hepflows.errors import HepflowsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepflows.generator import AnyGenerator
    from hepflows.production.request import Request, Source
    from hepflows.production.worker import Work

BATCH = 1024
SHARDS_A_WORKER = 4
BILLION = 1e9


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--events", type=int, default=16384, help="events a worker in each repeat")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    console = Console()
    try:
        results = work(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", soft_wrap=True, highlight=False)
        return 2
    machine = results["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}; 1 thread a process, float32, "
        f"batch {options.batch}, shards of {results['shard_size']} events; median of {options.repeat}",
        soft_wrap=True,
        highlight=False,
    )
    rows = [
        (row["name"], f"{row['events_per_second']:.0f}", f"{row['per_worker']:.0f}", f"{row['ratio']:.3f}")
        for row in results["rates"]
    ]
    console.print(table("production", ("", "events/s", "a worker", "over one process"), rows))
    size = results["bytes_an_event"]
    console.print(
        f"10^9 events: {results['core_hours_a_billion']:.0f} core hours, {size * BILLION / 1e12:.2f} TB "
        f"({size:.0f} bytes an event)",
        highlight=False,
    )
    if options.json is not None:
        write_json(options.json, results, force=True)
    return 0


def work(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything."""
    import torch

    from hepflows import registry
    from hepflows.production.request import Source

    torch.set_num_threads(1)
    source = Source(path=options.artefact.absolute())
    generator = registry.load(source.locate())
    size = -(-options.events // SHARDS_A_WORKER // 256) * 256
    alone, n_bytes = one_process(generator, source, size, options)
    rates: list[dict[str, Any]] = [
        {"name": "one process", "events_per_second": alone, "per_worker": alone, "ratio": 1.0}
    ]
    for count in options.workers:
        rate = on_workers(generator, source, size, count, options)
        rates.append(
            {
                "name": f"{count} worker{'s' if count > 1 else ''}",
                "events_per_second": rate,
                "per_worker": rate / count,
                "ratio": rate / count / alone,
            }
        )
    return {
        "benchmark": "production",
        "machine": describe_machine(libraries=("hepflows", "torch", "numpy", "numba", "dask", "distributed")),
        "artefact": str(options.artefact),
        "shard_size": size,
        "batch": options.batch,
        "threads": 1,
        "dtype": "float32",
        "repeat": options.repeat,
        "rates": rates,
        "bytes_an_event": n_bytes,
        "core_hours_a_billion": BILLION / rates[-1]["per_worker"] / 3600,
    }


def one_process(generator: AnyGenerator, source: Source, size: int, options: argparse.Namespace) -> tuple[float, float]:
    """Events a second of one process that makes shards, and bytes an event."""
    from hepflows import registry
    from hepflows.production.shard import make_shard, requested_conditions

    task = registry.task(generator.task)
    rates: list[float] = []
    n_bytes = 0.0
    for number in range(options.repeat + 1):  # the first one compiles
        n = 256 if number == 0 else SHARDS_A_WORKER * size
        with production(generator, source, n, size if number else 256, seed=number, options=options) as (folder, _):
            conditions = requested_conditions(folder.request, generator)
            start = time.perf_counter()
            for bounds in folder.request.shards():
                make_shard(folder, bounds, generator=generator, task=task, conditions=conditions, batch=options.batch)
            if number:
                rates.append(n / (time.perf_counter() - start))
                n_bytes = sum(folder.file(bounds).stat().st_size for bounds in folder.request.shards()) / n
    return statistics.median(rates), n_bytes


def on_workers(generator: AnyGenerator, source: Source, size: int, count: int, options: argparse.Namespace) -> float:
    """Events a second of Dask workers."""
    from hepflows.production.cluster import connected, run_on_cluster
    from hepflows.production.shard import requested_conditions
    from hepflows.train.progress import SilentReporter

    rates: list[float] = []
    reporter = SilentReporter()
    with connected(f"local:{count}", threads=1) as client:
        for number in range(options.repeat + 1):  # in the first one workers load and compile
            n = SHARDS_A_WORKER * count * (size if number else 256)
            with (
                production(generator, source, n, size if number else 256, seed=number, options=options) as (
                    folder,
                    job,
                ),
                reporter.stage("", total=n) as stage,
            ):
                conditions = requested_conditions(folder.request, generator)
                start = time.perf_counter()
                run_on_cluster(client, job, folder, conditions, share=(0, n), stage=stage, reporter=reporter)
                if number:
                    rates.append(n / (time.perf_counter() - start))
    return statistics.median(rates)


@contextlib.contextmanager
def production(
    generator: AnyGenerator, source: Source, n: int, size: int, *, seed: int, options: argparse.Namespace
) -> Iterator[tuple[Any, Work]]:
    """A production in a temporary directory, and what its workers are told."""
    from hepflows.production.folder import begin
    from hepflows.production.worker import Work

    with tempfile.TemporaryDirectory() as directory:
        request = request_for(generator, source, n, size, seed=seed)
        folder = begin(Path(directory) / "production", request, resume=False, force=False)
        yield (
            folder,
            Work(path=folder.path, request=request, source=source, device="cpu", threads=1, batch=options.batch),
        )


def request_for(generator: AnyGenerator, source: Source, n: int, size: int, *, seed: int) -> Request:
    """Events whose conditions are drawn as widely as the generator allows."""
    from hepflows.benchmarking.artefact import valid_ranges
    from hepflows.production.request import GeneratorRecord, Request, generator_digest

    path = source.locate()
    drawn = valid_ranges(generator.document) if "incident_energy_gev" in generator.condition_names else {}
    return Request(
        generator=GeneratorRecord(name=path.name, task=generator.task, sha256=generator_digest(path)),
        seed=seed,
        n_events=n,
        shard_size=size,
        suffix="h5",
        ranges={name: (low, high) for name, (low, high) in drawn.items()},
    )


if __name__ == "__main__":
    sys.exit(main())
