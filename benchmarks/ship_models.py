"""Trainings of the shower table as models that come with the package: float16 weights, card, configuration, report.

HEPFLOWS_DATA=... python -m benchmarks.ship_models --runs runs/showers --recipe coupling --kind coupling

Everything that card and report say is measured on what is shipped, the stored weights, and on the showers that the
table compares with. ``python -m benchmarks.shower_table models`` measures the table's line of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

import calofast as cf
import validation
from benchmarks.options import among, file_of
from benchmarks.shower_measures import SEED
from benchmarks.shower_recipes import KINDS, PARTICLES, RECIPES
from benchmarks.shower_runs import TABLE, Cell, showers_of, write_json
from calofast.generator import CaloGenerator
from hepflows.errors import DataError, HepflowsError

if TYPE_CHECKING:
    from collections.abc import Sequence

TRAINING = "training.json"
"""File of a model's directory: configuration, showers and time of its training."""

_SHOWN = ("e_tot_ratio_mean", "e_tot_ratio_std", "separation_mean", "auc_low", "auc_low_normed", "auc_log", "auc_high")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="directory of the table's cells")
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="coupling")
    parser.add_argument("--kind", choices=sorted({kind for kinds in KINDS.values() for kind in kinds}))
    parser.add_argument("--particles", type=among(PARTICLES), default=tuple(PARTICLES), help="default: all")
    parser.add_argument("--into", type=Path, default=Path(cf.__file__).parent / "models", help="default: the package")
    parser.add_argument("--further-test", type=file_of(PARTICLES), action="append", default=[], metavar="PARTICLE=FILE")
    parser.add_argument("--preset", default="quick", help="of the report (default: quick)")
    options = parser.parse_args(argv)
    kind = options.kind or KINDS[options.recipe][-1]  # what was trained last samples fastest
    try:
        for particle in options.particles:
            further = [path for name, path in options.further_test if name == particle]
            cell = Cell(particle=particle, recipe=options.recipe, directory=options.runs / particle / options.recipe)
            ship(cell, kind, options.into / particle, further=further, preset=options.preset)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    return 0


def ship(cell: Cell, kind: str, target: Path, *, further: Sequence[Path], preset: str) -> None:
    """Write a model's directory.

    Args:
        cell: a trained cell of the table.
        kind: which of its generators.
        target: directory of the model; an older one is replaced.
        further: files with more held-out showers.
        preset: of the validation.

    Raises:
        DataError: the cell is not trained.
    """
    if not cell.plan.exists():
        raise DataError("nothing was trained here", where=cell.directory, remedy="run the shower table first")
    plan = json.loads(cell.plan.read_text(encoding="utf-8"))
    CaloGenerator.load(cell.artefact(kind)).save(target, storage="float16", force=True)
    model = CaloGenerator.load(target)
    training = {"config": plan["config"], "generators": {kind: plan["generators"][kind]}}
    write_json(target / TRAINING, training)
    reference = showers_of(cell.particle, TABLE.held_out, further)
    sample = model.sample(reference.incident_energy_gev, seed=SEED, out_of_range="clamp")
    settings = validation.Settings(preset=preset, default_gates=True)
    report = validation.compare(reference, {target.name: sample}, cf.OBSERVABLES, settings=settings)
    report.write(target / "report", force=True)
    shutil.rmtree(target / "report" / "pictures")  # they are in report.html, too
    content: Any = report.to_json()
    card = _card(target.name, model, plan["generators"][kind], content)
    (target / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def _card(name: str, model: CaloGenerator, training: dict[str, Any], report: dict[str, Any]) -> str:
    document = model.document
    provenance = document["provenance"]
    low, high = document["valid_range"]["incident_energy_gev"]
    size = document["weights"]["n_bytes"] / 1e6
    rows = [
        f"| `{metric}` | {entry['value']:.4g} | {_number(entry.get('error'))} | {_number(entry.get('floor'))} |"
        for metric, entry in report["samples"][name].items()
        if metric in _SHOWN and entry["value"] is not None
    ]
    origin = "\n".join(f"* {key}: {value}" for key, value in sorted(provenance.items()))
    table = "\n".join(rows)
    return f"""# {name}

Showers of PDG {provenance["pdg"]} with {low:g} to {high:g} GeV at normal incidence on the centre of the calorimeter
`{model.geometry.name}`; {model.geometry.n_voxels} voxels in MeV. Generator of kind `{model.kind}`, {size:.1f} MB of
float16 weights, written by hepflows {document["version"]}.

```sh
hepflows generate --model {name} -n 1000 --seed 1 --out showers.h5
```

## Training

{training["n_showers"]} showers, {training["seconds"] / 60:.0f} minutes; configuration in `{TRAINING}`
and `generator.json`.

## Quality

{report["n_reference"]} held-out showers, preset `{report["settings"]["preset"]}`; gates passed: {report["passed"]}.
Everything else is in `report/report.html`. The floor is what the reference reaches against itself.

| metric | value | error | floor |
|---|---|---|---|
{table}

## Limits

Other energies, angles, places of incidence, materials and physics lists were never seen. Judge by a validation with
your own selection before you use it.

## Origin of the showers

{origin}
"""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    raise SystemExit(main())
