"""Geant4 and fast generators in one run: processor time per shower against incident energy.

python -m benchmarks.geant4_speedup --json speedup.json --plot speedup.png runs/eplus/student runs/eplus/student.onnx

Needs the extra `geant4` and Geant4's data sets (docs/simulation.md). An artefact is PATH or NAME=PATH.
"""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from benchmarks.geant4_side import DEFAULT_PHYSICS, Geant4Job, time_geant4
from benchmarks.options import Options, numbers, parse, run, say
from benchmarks.showing import describe, show_notes
from hepflows import registry
from hepflows.benchmarking.artefact import SEED, conditions_inside, valid_ranges
from hepflows.benchmarking.tables import table
from hepflows.benchmarking.timing import time_alternately
from hepflows.errors import ConfigError
from validation.timing import name_sources

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hepflows.generator import AnyGenerator

ENERGIES_GEV = (2, 5, 10, 20, 50, 95)
QUICK_ENERGIES_GEV = (10, 50)
ENERGY = "incident_energy_gev"


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, batches=(1, 100, 1000), quick_batches=(1, 100), peers=False, add=_add_options)
    return run("geant4_speedup", dataclasses.replace(options, peers=()), work, show=show, draw=draw)


def work(options: Options) -> dict[str, Any]:
    """Measure Geant4 in a process of its own for each list of interactions, then all generators."""
    more = options.more
    energies = more["energies"] or (QUICK_ENERGIES_GEV if options.quick else ENERGIES_GEV)
    showers = more["showers"] or (3 if options.quick else 12)
    sources = name_sources(more["artefacts"])
    generators = {name: registry.load(path) for name, path in sources.items()}
    geant4: dict[str, Any] = {}
    versions: dict[str, str] = {}
    for physics in more["physics"].split(","):
        say(f"Geant4, {physics}")
        job = Geant4Job(
            geometry=more["geometry"],
            particle=more["particle"],
            physics=physics,
            energies_gev=energies,
            showers=showers,
            seed=options.seed,
        )
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # Geant4 can be set up once a process
            versions, geant4[physics] = pool.apply(time_geant4, (job,))
    sides: dict[str, Any] = {}
    not_run: dict[str, str] = {}
    for name, generator in generators.items():
        say(name)
        sides[name], left_out = time_generator(generator, energies, options)
        not_run |= {f"{name}, {energy:g} GeV": why for energy, why in left_out.items()}
    return {
        "detector": more["geometry"],
        "particle": more["particle"],
        "energies_gev": list(energies),
        "versions": versions,
        "geant4": geant4,
        "generators": sides,
        "speedup": speedups(geant4, sides),
        "not_run": not_run,
    }


def time_generator(
    generator: AnyGenerator, energies_gev: Sequence[float], options: Options
) -> tuple[dict[str, Any], dict[float, str]]:
    """Times by batch and energy, and why energies are left out.

    Raises:
        ConfigError: the generator has no incident energy.
    """
    if ENERGY not in generator.condition_names:
        raise ConfigError(
            "not a generator of showers", where="ARTEFACT", expected=ENERGY, found=", ".join(generator.condition_names)
        )
    low, high = valid_ranges(generator.document).get(ENERGY, (0.0, math.inf))
    left_out = {
        energy: f"the generator is valid for {low:.3g} to {high:.3g} GeV"
        for energy in energies_gev
        if not low <= energy <= high
    }
    found: dict[str, Any] = {}
    for batch in options.batches:
        drawn = conditions_inside(generator, batch)
        calls = {
            f"{energy:g}": _sampling(generator, {**drawn, ENERGY: np.full(batch, energy, np.float32)}, batch)
            for energy in energies_gev
            if energy not in left_out
        }
        timings = time_alternately(calls, options.effort) if calls else {}
        found[str(batch)] = {energy: timing.to_dict(calls=batch) for energy, timing in timings.items()}
    return found, left_out


def speedups(geant4: Mapping[str, Any], generators: Mapping[str, Any]) -> dict[str, Any]:
    """Processor time of Geant4 over that of a generator, by physics, generator, batch and energy."""
    return {
        physics: {
            name: {
                batch: {
                    energy: times[energy]["cpu_ms"] / timing["cpu_ms"] if timing["cpu_ms"] > 0 else None
                    for energy, timing in by_energy.items()
                }
                for batch, by_energy in by_batch.items()
            }
            for name, by_batch in generators.items()
        }
        for physics, times in geant4.items()
    }


def _sampling(generator: AnyGenerator, conditions: Mapping[str, Any], n: int) -> Callable[[], object]:
    return lambda: generator.sample(conditions, n=n, seed=SEED)


def show(results: Mapping[str, Any]) -> None:
    """Print tables."""
    console = Console()
    energies = [f"{energy:g}" for energy in results["energies_gev"]]
    header = ["", *(f"{energy} GeV" for energy in energies)]
    rows: list[list[object]] = [
        [f"Geant4, {physics}", *(times[energy]["cpu_ms"] for energy in energies)]
        for physics, times in results["geant4"].items()
    ]
    rows += [
        [f"{name}, batch {batch}", *(by_energy.get(energy, {}).get("cpu_ms") for energy in energies)]
        for name, by_batch in results["generators"].items()
        for batch, by_energy in by_batch.items()
    ]
    title = f"{results['particle']} in {results['detector']}: processor time in ms per shower"
    console.print(table(title, header, rows))
    for physics, by_name in results["speedup"].items():
        rows = [
            [f"{name}, batch {batch}", *(ratios.get(energy) for energy in energies)]
            for name, by_batch in by_name.items()
            for batch, ratios in by_batch.items()
        ]
        if rows:
            console.print(table(f"times faster than Geant4 with {physics}", header, rows))
    show_notes(console, results)
    console.print(", ".join(f"{name} {version}" for name, version in results["versions"].items()))


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Processor time against energy."""
    from benchmarks.geant4_plot import plot_speedup

    plot_speedup(results, path, subtitle=describe(results))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artefacts", nargs="*", metavar="ARTEFACT", help="generators: PATH or NAME=PATH")
    parser.add_argument("--geometry", default="calogan", help="detector (default: calogan)")
    parser.add_argument("--particle", default="e+", help="incoming particle (default: e+)")
    parser.add_argument("--energies", type=numbers, help="incident energies in GeV, 2,5,10 for example")
    parser.add_argument("--showers", type=int, help="showers of Geant4 an energy (default: 12; 3 with --quick)")
    parser.add_argument(
        "--physics", default=DEFAULT_PHYSICS, help=f"Geant4's lists of interactions (default: {DEFAULT_PHYSICS})"
    )


if __name__ == "__main__":
    raise SystemExit(main())
