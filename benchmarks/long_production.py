"""A long production of showers, every one of which is checked, and the memory of all processes over time.

python -m benchmarks.long_production runs/eplus/student --out long --events 1000000
python -m benchmarks.long_production runs/eplus/student --out long --events 20000 --shard-size 2048

Checked are: hashes and counts of all shards; conditions within their range; no deposit that is negative or not finite;
the sum of every layer against the layer energy of Flow I, computed again from the noise of the shower. Exit code 1: a
shower failed, or the memory of a process grew by more than a fifth after the first fifth of the production.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from benchmarks.production import request_for
from hepflows.benchmarking.machine import describe_machine
from hepflows.benchmarking.tables import table, write_json
from hepflows.commands.options import terminal_reporter
from hepflows.errors import HepflowsError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from calofast.generator import CaloGenerator
    from calofast.showers import Showers
    from hepflows.production.manifest import Manifest

TOLERANCE = 1e-4
"""Relative, of a layer's sum: float32 sums of some hundred voxels."""
GROWTH = 1.2
SETTLED = 0.2
"""Part of the production after which memory must not grow."""
SHOWN = 10


@dataclass
class Memory:
    """Resident memory over time.

    Attributes:
        rows: seconds, share of the events that is done, MiB of this process and of the largest worker.
    """

    rows: list[tuple[float, float, float, float]] = field(default_factory=list)

    def growth(self) -> float:
        """Largest memory of this process or of a worker after it has settled, over that before."""
        before = [row for row in self.rows if row[1] <= SETTLED and row[3] > 0] or self.rows[:1]
        after = [row for row in self.rows if row[1] > SETTLED] or self.rows[-1:]
        return max(max(row[i] for row in after) / max(1.0, *(row[i] for row in before)) for i in (2, 3))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="directory of the production; it stays")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=16384)
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between two looks at the memory")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    console = Console()
    try:
        results = work(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", soft_wrap=True, highlight=False)
        return 2
    rows = results["memory"]
    shown = rows[:: max(1, len(rows) // SHOWN)]
    cells = [(f"{t:.0f}", f"{done:.0%}", f"{client:.0f}", f"{worker:.0f}") for t, done, client, worker in shown]
    console.print(table("memory", ("seconds", "done", "client MiB", "largest worker MiB"), cells))
    console.print(
        f"{results['events']} showers in {results['seconds']:.0f} s: {results['events_per_second']:.0f} a second; "
        f"memory {results['growth']:.2f} of that of the first fifth; largest deviation of a layer's sum "
        f"{results['largest_deviation']:.1e}; {results['failed']} showers failed",
        soft_wrap=True,
        highlight=False,
    )
    if options.json is not None:
        write_json(options.json, results, force=True)
    return int(results["failed"] > 0 or results["growth"] > GROWTH)


def work(options: argparse.Namespace) -> dict[str, Any]:
    """Produce and check."""
    import torch

    from calofast.generator import CaloGenerator
    from hepflows import registry
    from hepflows.production.job import Means, produce
    from hepflows.production.manifest import verify
    from hepflows.production.request import Source, shard_size
    from hepflows.production.shard import requested_conditions

    torch.set_num_threads(1)
    source = Source(path=options.artefact.absolute())
    generator = CaloGenerator.load(source.locate())
    request = request_for(generator, source, options.events, shard_size(options.shard_size), seed=1)
    reporter = terminal_reporter()
    start = time.perf_counter()
    with watched(options.out, options.events, options.shard_size, options.interval) as memory:
        produce(
            request,
            options.out,
            source=source,
            generator=generator,
            task=registry.task(generator.task),
            conditions=requested_conditions(request, generator),
            means=Means(dask=f"local:{options.workers}", threads=1),
            reporter=reporter,
            force=options.out.exists(),
        )
    seconds = time.perf_counter() - start
    checked = check(verify(options.out, reporter=reporter), options.out, generator)
    return {
        "benchmark": "long_production",
        "machine": describe_machine(libraries=("hepflows", "torch", "numpy", "numba", "dask", "distributed")),
        "artefact": str(options.artefact),
        "workers": options.workers,
        "events": options.events,
        "seconds": seconds,
        "events_per_second": options.events / seconds,
        "memory": memory.rows,
        "growth": memory.growth(),
        **checked,
    }


def check(manifest: Manifest, directory: Path, generator: CaloGenerator) -> dict[str, float]:
    """Look at every shower; how many are wrong, and the largest relative deviation of a layer's sum."""
    from calofast.reading import iterate_showers

    failed, seen, largest = 0, 0, 0.0
    with terminal_reporter().stage("checking showers", total=manifest.n_events, unit="showers") as stage:
        for shard in manifest.shards:
            first = shard.first
            for showers in iterate_showers(directory / shard.file):
                bad, deviation = check_showers(showers, generator, seed=manifest.request.seed, first_event=first)
                failed, largest = failed + int(bad.sum()), max(largest, deviation)
                first += len(showers)
                stage.advance(len(showers))
            seen += first - shard.first
    return {"failed": failed + abs(seen - manifest.n_events), "largest_deviation": largest}


def check_showers(
    showers: Showers, generator: CaloGenerator, *, seed: int, first_event: int
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], float]:
    """Which showers are wrong, shape (N,), and the largest relative deviation of a layer's sum from Flow I's energy.

    A layer all of whose voxels are below the hit threshold is empty, and no deviation.
    """
    import torch

    from calofast.condition_values import conditions_of
    from hepflows.philox import normal_noise

    model = generator.model
    found = conditions_of(showers)
    matrix = generator.condition_matrix({name: found[name] for name in generator.condition_names})
    low, high = np.array([generator.document["valid_range"][name] for name in generator.condition_names]).T
    slack = 1e-6 * np.abs(high)  # conditions are stored in float32
    bad = ~np.isfinite(matrix).all(1) | (matrix < low - slack).any(1) | (matrix > high + slack).any(1)
    bad |= ~np.isfinite(showers.voxels_mev).all(1) | (showers.voxels_mev < 0).any(1)
    noise = normal_noise(seed, first_event, len(showers), model.n_totals)
    with torch.no_grad():
        totals = model.sample_layers(torch.from_numpy(noise), torch.from_numpy(matrix))
        target = model.voxels.final_energies(totals[:, : model.n_layers]).double().numpy()
    sums = showers.layer_energies_mev
    cells = np.array([part.stop - part.start for part in showers.geometry.layer_slices])
    # without renormalisation the hit threshold takes away up to one threshold a voxel
    lost = model.voxels.config.threshold_mev * cells
    short = target - sums
    empty = (sums == 0) & (short <= lost)
    allowed = 0.0 if model.voxels.config.renormalise_after_threshold else lost
    deviation = np.where(empty, 0.0, np.maximum(short - allowed, -short)) / np.maximum(target, 1e-30)
    bad |= (deviation > TOLERANCE).any(1)
    return bad, float(np.max(deviation, initial=0.0))


@contextlib.contextmanager
def watched(directory: Path, n_events: int, size: int, interval: float) -> Iterator[Memory]:
    """Look at the memory of this process and its workers until the block ends."""
    try:
        import psutil
    except ImportError:
        raise MissingDependencyError("this needs psutil", remedy='pip install "hepflows[dask]"') from None
    memory, stop, own, start = Memory(), threading.Event(), psutil.Process(), time.perf_counter()

    def look() -> None:
        while not stop.wait(interval):
            done = len(list((directory / "records").glob("*.json"))) * size / n_events
            workers = [0]
            for child in own.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    workers.append(child.memory_info().rss)
            row = (time.perf_counter() - start, min(done, 1.0), own.memory_info().rss / 2**20, max(workers) / 2**20)
            memory.rows.append(row)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        stop.set()
        watcher.join()


if __name__ == "__main__":
    sys.exit(main())
