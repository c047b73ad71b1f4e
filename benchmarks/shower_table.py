r"""The tables of docs/results.md: particles and architectures, every metric with its floor, and what each cost.

HEPFLOWS_DATA names a directory with showers/eplus.h5, gamma.h5 and piplus.h5 (CaloGAN layout); the last 20 % of each
file is only compared with. Further showers come from ``hepflows simulate``::

    python -m benchmarks.shower_table run --out runs/showers       # as often as it takes: it goes on
    python -m benchmarks.shower_table models --out runs/showers    # what comes with the package
    python -m benchmarks.shower_table show --out runs/showers > tables.md

The last column of the cost needs, for each particle that Geant4 can be run with here::

    python -m benchmarks.geant4_speedup --particle e+ --json runs/showers/eplus/geant4.json \
        coupling=runs/showers/eplus/coupling model=calofast/models/eplus

Two runs beside each other may share the cells by ``--particles`` or ``--recipes``. Settings are chosen with
``--tuning``, which leaves the showers that the tables compare with alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks.options import among, file_of
from benchmarks.ship_models import TRAINING
from benchmarks.shower_measures import SEED, Measurer, sampling_ms
from benchmarks.shower_recipes import KINDS, MODEL, PARTICLES, RECIPES
from benchmarks.shower_runs import TABLE, TUNING, Cell, showers_of, train, write_json
from benchmarks.shower_table_text import tables
from calofast.generator import CaloGenerator
from hepflows.benchmarking.machine import describe_machine
from hepflows.commands.options import apply_threads, terminal_reporter
from hepflows.document import read_document
from hepflows.errors import HepflowsError
from hepflows.models import models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.shower_runs import Parts

_MACHINE = ("cpu", "cores", "python", "versions", "torch_threads")


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            sys.stdout.write(tables(collect(options.out), floors(options.out), beside_geant4(options.out)))
        else:
            apply_threads(options.threads)
            (run if options.action == "run" else measure_models)(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Train, generate and measure what is missing."""
    console, reporter = Console(stderr=True), terminal_reporter()
    for recipe in options.recipes:
        for particle in options.particles:
            cell = Cell(particle=particle, recipe=recipe, directory=options.out / particle / recipe)
            further = _of(particle, options.further_training)
            plan = train(
                cell, part=_parts(options).trained, settings=options.set or (), further=further, reporter=reporter
            )
            for kind in KINDS[recipe]:
                if not options.train_only and not cell.result(kind).exists():
                    measure(cell, cell.artefact(kind), kind, plan["generators"][kind], options)
                    console.print(f"{particle} {recipe} {kind}: {cell.result(kind)}", soft_wrap=True)


def measure_models(options: argparse.Namespace) -> None:
    """Measure the models that come with the package."""
    for name, model in models().items():
        if name in options.particles:
            kind = read_document(model.directory).kind
            plan = json.loads((model.directory / TRAINING).read_text(encoding="utf-8"))
            cell = Cell(particle=name, recipe=MODEL, directory=options.out / name / MODEL)
            if not cell.result(kind).exists():
                measure(cell, model.directory, kind, plan["generators"][kind], options)


def measure(cell: Cell, artefact: Path, kind: str, training: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Compare a generator's showers with held-out ones and write its result, and the particle's floor if need be."""
    held_out = _parts(options).held_out
    reference = showers_of(cell.particle, held_out, _of(cell.particle, options.further_test))
    generator = CaloGenerator.load(artefact)
    sample = generator.sample(reference.incident_energy_gev, seed=SEED, out_of_range="clamp")
    measurer = Measurer(reference=reference, preset=options.preset, trainings=options.trainings, epochs=options.epochs)
    floor = _floor(options.out, cell.particle)
    if not floor.exists():
        write_json(floor, {"n_reference": len(reference), "metrics": measurer.floors()})
    result = {
        "particle": cell.particle,
        "recipe": cell.recipe,
        "kind": kind,
        "training": training,
        "n_reference": len(reference),
        "metrics": measurer.metrics(sample) | measurer.classifiers(sample),
        "sampling_ms": sampling_ms(generator, reference.incident_energy_gev),
        "weights_bytes": (artefact / "weights.safetensors").stat().st_size,
        "machine": {name: value for name, value in describe_machine().items() if name in _MACHINE},
    }
    write_json(cell.result(kind), result)


def collect(out: Path) -> list[dict[str, Any]]:
    """Everything measured so far."""
    cells = [
        Cell(particle=particle, recipe=recipe, directory=out / particle / recipe)
        for particle in PARTICLES
        for recipe in (*RECIPES, MODEL)
    ]
    kinds = {**KINDS, MODEL: sorted({kind for trained in KINDS.values() for kind in trained})}
    paths = [cell.result(kind) for cell in cells for kind in kinds[cell.recipe]]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def floors(out: Path) -> dict[str, Any]:
    """The classifiers' floors by particle."""
    paths = {particle: _floor(out, particle) for particle in PARTICLES}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def beside_geant4(out: Path) -> dict[str, Any]:
    """Results of `benchmarks.geant4_speedup` by particle, which stand as ``geant4.json`` in its directory."""
    paths = {particle: out / particle / "geant4.json" for particle in PARTICLES}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def _floor(out: Path, particle: str) -> Path:
    return out / particle / "floor.json"


def _parts(options: argparse.Namespace) -> Parts:
    return TUNING if options.tuning else TABLE


def _of(particle: str, files: Sequence[tuple[str, Path]]) -> list[Path]:
    return [path for name, path in files if name == particle]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "models", "show"))
    parser.add_argument("--out", type=Path, required=True, help="directory of all cells")
    parser.add_argument("--particles", type=among(PARTICLES), default=tuple(PARTICLES), help="default: all")
    parser.add_argument("--recipes", type=among(RECIPES), default=tuple(RECIPES), help="default: all")
    parser.add_argument(
        "--further-training", type=file_of(PARTICLES), action="append", default=[], metavar="PARTICLE=FILE"
    )
    parser.add_argument("--further-test", type=file_of(PARTICLES), action="append", default=[], metavar="PARTICLE=FILE")
    parser.add_argument(
        "--tuning", action="store_true", help="train on the first 60 %% of each file and compare with the next 20 %%"
    )
    parser.add_argument("--preset", default="full", help="of the classifiers (default: full)")
    parser.add_argument("--trainings", type=int, default=5, help="of each classifier (default: 5)")
    parser.add_argument("--epochs", type=int, help="of each of these (default: the preset's)")
    parser.add_argument("--train-only", action="store_true", help="measure nothing")
    parser.add_argument("--threads", type=int, help="CPU threads; by default torch chooses")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="entry of the configuration")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
