"""What each choice of the preprocessing and of the distillation is worth: one change at a time, the same epochs.

HEPFLOWS_DATA names a directory with showers/eplus.h5, of which the first 60 % train and the next 20 % are compared
with; the table's last 20 % are not touched::

    python -m benchmarks.shower_ablation run --out runs/ablation    # as often as it takes: it goes on
    python -m benchmarks.shower_ablation show --out runs/ablation

Preprocessing is studied with the coupling flow, which needs no distillation; the distillation with students of one
teacher. ``--further-test`` adds simulated showers to those that are compared with, which makes the classifiers sharper.
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
    from collections.abc import Iterator, Sequence

    from hepflows.train.progress import Reporter

PARTICLE: Final = "eplus"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            sys.stdout.write("\n".join(table(name, options.out) for name in options.studies))
        else:
            apply_threads(options.threads)
            run(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    return 0


@dataclass(frozen=True)
class Trial:
    """One training: a variant of a study with one seed."""

    study: str
    variant: str
    seed: int
    settings: tuple[str, ...]
    out: Path

    @property
    def cell(self) -> Cell:
        """Where it is trained."""
        directory = self.out / self.study / self.variant / f"seed{self.seed}"
        return Cell(particle=PARTICLE, recipe=ABLATIONS[self.study].recipe, directory=directory)


def trials(study: str, out: Path) -> Iterator[Trial]:
    """All trainings of a study: one change each, and a second seed for the leading ones."""
    common = ABLATIONS[study].common
    for variant in ABLATIONS[study].variants:
        for seed in variant.seeds:
            yield Trial(study, variant.name, seed, (*common, *variant.settings, f"seed={seed}"), out)


def run(options: argparse.Namespace) -> None:
    """Train and measure what is missing."""
    console, reporter = Console(stderr=True), terminal_reporter()
    reference = showers_of(PARTICLE, TUNING.held_out, options.further_test)
    measurer = Measurer(reference=reference, preset=options.preset, trainings=options.trainings, epochs=options.epochs)
    for study in options.studies:
        kind = ABLATIONS[study].kind
        for trial in trials(study, options.out):
            path = trial.cell.result(kind)
            if not path.exists():
                settings = (*trial.settings, *(options.set or ()))
                plan = _trained(trial, settings, reporter)
                generator = CaloGenerator.load(trial.cell.artefact(kind))
                sample = generator.sample(reference.incident_energy_gev, seed=SEED, out_of_range="clamp")
                aucs = {f"auc_{inputs}": measurer.auc(reference, sample, inputs) for inputs in INPUTS}
                write_json(path, {"metrics": aucs, "training": plan["generators"][kind], "settings": settings})
                console.print(f"{study} {trial.variant} seed {trial.seed}: {path}", soft_wrap=True)


def _trained(trial: Trial, settings: Sequence[str], reporter: Reporter | None) -> dict[str, Any]:
    """Train a trial; students of a seed are distilled from the same teacher."""
    cell, part = trial.cell, TUNING.trained
    if ABLATIONS[trial.study].kind == "student" and not cell.artefact("teacher").exists():
        common = Cell(
            particle=PARTICLE,
            recipe=cell.recipe,
            directory=trial.out / trial.study / "common" / f"seed{trial.seed}",
        )
        train(common, part=part, settings=settings, further=(), reporter=reporter, kinds=("teacher",))
        with atomic_directory(cell.artefact("teacher")) as temporary:
            shutil.copytree(common.artefact("teacher"), temporary, dirs_exist_ok=True)
    return train(cell, part=part, settings=settings, further=(), reporter=reporter)


def table(study: str, out: Path) -> str:
    """Markdown: one line for each training that is measured."""
    ablation = ABLATIONS[study]
    described = {variant.name: variant.change for variant in ablation.variants}
    names = [f"`auc_{inputs}`" for inputs in INPUTS]
    lines = [f"| {' | '.join([study, 'seed', *names, 'min'])} |", "|---" * (len(names) + 3) + "|"]
    for trial in trials(study, out):
        path = trial.cell.result(ablation.kind)
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            found = [result["metrics"][f"auc_{inputs}"] for inputs in INPUTS]
            cells = [with_error(entry["value"], entry["error"]) for entry in found]
            minutes = f"{result['training']['seconds'] / 60:.0f}"
            lines.append(f"| {' | '.join([described[trial.variant], str(trial.seed), *cells, minutes])} |")
    return "\n".join(lines) + "\n"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "show"))
    parser.add_argument("--out", type=Path, required=True, help="directory of all trainings")
    parser.add_argument("--studies", type=among(ABLATIONS), default=tuple(ABLATIONS), help="default: all")
    parser.add_argument("--further-test", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--preset", default="full", help="of the classifiers (default: full)")
    parser.add_argument("--trainings", type=int, default=3, help="of each classifier (default: 3)")
    parser.add_argument("--epochs", type=int, help="of each of these (default: the preset's)")
    parser.add_argument("--threads", type=int, help="CPU threads; by default torch chooses")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="entry of every configuration")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
