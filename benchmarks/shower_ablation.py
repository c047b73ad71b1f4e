"""What each choice of the preprocessing and of the distillation is worth: one change at a time, the same epochs.

HEPFLOWS_DATA names a directory with showers/eplus.h5, of which the first 60 % train and the next 20 % are compared
with; the table's last 20 % are not touched::

    python -m benchmarks.shower_ablation run --out runs/ablation    # as often as it takes: it goes on
    python -m benchmarks.shower_ablation show --out runs/ablation

Preprocessing is studied with the coupling flow, which needs no distillation; the distillation with students of one
teacher. ``--further-test`` adds simulated showers to those that are compared with, which makes the classifiers sharper.
``train`` and ``measure`` are the two halves of ``run``: ``measure`` takes what is trained by then.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from benchmarks.options import among
from benchmarks.quoting import with_error
from benchmarks.shower_measures import INPUTS, SEED, Measurer
from benchmarks.shower_recipes import ABLATIONS
from benchmarks.shower_runs import TUNING, Cell, showers_of, train, write_json
from calofast.generator import CaloGenerator
from hepflows.commands.options import apply_threads, terminal_reporter
from hepflows.errors import HepflowsError
from hepflows.files import atomic_directory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import calofast as cf
    from benchmarks.shower_measures import Found

PARTICLE: Final = "eplus"
FLOOR: Final = "floor.json"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            begun = [name for name in options.studies if (options.out / name).is_dir()]
            sys.stdout.write("\n".join(table(name, options.out) for name in begun))
        else:
            apply_threads(options.threads)
            if options.action != "measure":
                train_missing(options)
            if options.action != "train":
                measure_missing(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    return 0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: a variant of a study with one seed.

    Attributes:
        variant: its name.
        change: in words.
        seed: of everything.
        settings: entries of its configuration.
        cell: where it is trained.
        kind: the generator that comes out of it.
        teacher: where the teacher of a student is trained.
    """

    variant: str
    change: str
    seed: int
    settings: tuple[str, ...]
    cell: Cell
    kind: str
    teacher: Cell | None = None


def trials(study: str, out: Path) -> list[Trial]:
    """All trainings of a study: one change each, and a second seed for the leading ones; teachers first."""
    ablation = ABLATIONS[study]

    def cell(name: str, seed: int) -> Cell:
        return Cell(particle=PARTICLE, recipe=ablation.recipe, directory=out / study / name / f"seed{seed}")

    teachers: dict[int, Trial] = {}
    if ablation.kind == "student":
        for seed in sorted({seed for variant in ablation.variants for seed in variant.seeds}):
            settings = (*ablation.common, f"seed={seed}")
            teachers[seed] = Trial(
                variant="common",
                change="the teacher",
                seed=seed,
                settings=settings,
                cell=cell("common", seed),
                kind="teacher",
            )
    return [
        *teachers.values(),
        *(
            Trial(
                variant=variant.name,
                change=variant.change,
                seed=seed,
                settings=(*ablation.common, *variant.settings, f"seed={seed}"),
                cell=cell(variant.name, seed),
                kind=ablation.kind,
                teacher=teachers[seed].cell if seed in teachers else None,
            )
            for variant in ablation.variants
            for seed in variant.seeds
        ),
    ]


def train_missing(options: argparse.Namespace) -> None:
    """Train what is neither trained nor measured; students of a seed are distilled from the same teacher."""
    reporter = terminal_reporter()
    for trial in _all_trials(options):
        if trial.cell.result(trial.kind).exists() and not _teaches(trial, options):
            continue
        if trial.teacher is not None and not trial.cell.artefact("teacher").exists():
            with atomic_directory(trial.cell.artefact("teacher")) as temporary:
                shutil.copytree(trial.teacher.artefact("teacher"), temporary, dirs_exist_ok=True)
        settings = (*trial.settings, *(options.set or ()))
        kinds = ("teacher",) if trial.kind == "teacher" else None
        train(trial.cell, part=TUNING.trained, settings=settings, further=(), reporter=reporter, kinds=kinds)


def _teaches(trial: Trial, options: argparse.Namespace) -> bool:
    """Whether a student that is still to be trained follows it."""
    return any(
        other.teacher == trial.cell and not other.cell.result(other.kind).exists() for other in _all_trials(options)
    )


def measure_missing(options: argparse.Namespace) -> None:
    """Measure what is trained and not measured."""
    console = Console(stderr=True)
    reference = showers_of(PARTICLE, TUNING.held_out, options.further_test)
    measurer = Measurer(reference=reference, preset=options.preset, trainings=options.trainings, epochs=options.epochs)
    if not (options.out / FLOOR).exists():
        halves = reference.split(0.5, seed=measurer.seed)
        write_json(options.out / FLOOR, {"metrics": _aucs(measurer, *halves)})
    for trial in _all_trials(options):
        path, artefact = trial.cell.result(trial.kind), trial.cell.artefact(trial.kind)
        if artefact.exists() and not path.exists():
            plan = json.loads(trial.cell.plan.read_text(encoding="utf-8"))
            generator = CaloGenerator.load(artefact)
            sample = generator.sample(reference.incident_energy_gev, seed=SEED, out_of_range="clamp")
            result = {
                "metrics": _aucs(measurer, reference, sample),
                "training": plan["generators"][trial.kind],
                "settings": (*trial.settings, *(options.set or ())),
            }
            write_json(path, result)
            console.print(f"{trial.change}, seed {trial.seed}: {path}", soft_wrap=True)


def _aucs(measurer: Measurer, reference: cf.Showers, sample: cf.Showers) -> Found:
    return {f"auc_{inputs}": measurer.auc(reference, sample, inputs) for inputs in INPUTS}


def _all_trials(options: argparse.Namespace) -> list[Trial]:
    found = [trial for study in options.studies for trial in trials(study, options.out)]
    if not options.variants:
        return found
    teachers = {trial.teacher for trial in found if trial.variant in options.variants}
    return [trial for trial in found if trial.variant in options.variants or trial.cell in teachers]


def table(study: str, out: Path) -> str:
    """Markdown: the floor, Geant4 against itself, and one line for each training that is measured."""
    names = [f"`auc_{inputs}`" for inputs in INPUTS]
    lines = [f"| {' | '.join([study, 'seed', *names, 'min'])} |", "|---" * (len(names) + 3) + "|"]
    if (out / FLOOR).exists():
        floor = json.loads((out / FLOOR).read_text(encoding="utf-8"))
        lines.append(f"| {' | '.join(['Geant4 itself', '', *_cells(floor), ''])} |")
    for trial in trials(study, out):
        path = trial.cell.result(trial.kind)
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            minutes = f"{result['training']['seconds'] / 60:.0f}"
            lines.append(f"| {' | '.join([trial.change, str(trial.seed), *_cells(result), minutes])} |")
    return "\n".join(lines) + "\n"


def _cells(result: Mapping[str, Any]) -> list[str]:
    found = [result["metrics"][f"auc_{inputs}"] for inputs in INPUTS]
    return [with_error(entry["value"], entry["error"]) for entry in found]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "train", "measure", "show"))
    parser.add_argument("--out", type=Path, required=True, help="directory of all trainings")
    parser.add_argument("--studies", type=among(ABLATIONS), default=tuple(ABLATIONS), help="default: all")
    variants = dict.fromkeys(variant.name for study in ABLATIONS.values() for variant in study.variants)
    parser.add_argument("--variants", type=among(variants), help="only these, for runs beside each other")
    parser.add_argument("--further-test", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--preset", default="full", help="of the classifiers (default: full)")
    parser.add_argument("--trainings", type=int, default=3, help="of each classifier (default: 3)")
    parser.add_argument("--epochs", type=int, help="of each of these (default: the preset's)")
    parser.add_argument("--threads", type=int, help="CPU threads; by default torch chooses")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="entry of every configuration")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
