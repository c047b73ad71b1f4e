"""One training of the shower table: a recipe on the showers of a particle, resumable."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import calofast as cf
from benchmarks.shower_recipes import KINDS, PARTICLES, RECIPES
from calofast.config import CaloFlowConfig
from calofast.generator import CaloGenerator
from calofast.training import Run
from hepflows.config import build, config_to_dict, with_overrides
from hepflows.errors import ConfigError
from hepflows.files import atomic_file
from hepflows.train.progress import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepflows.train.progress import Reporter


@dataclass(frozen=True)
class Parts:
    """Which showers of each particle's file train, and which are compared with.

    Attributes:
        trained: for training and for choosing the epoch.
        held_out: for the comparison.
    """

    trained: tuple[float, float]
    held_out: tuple[float, float]


TABLE: Final = Parts((0.0, 0.8), (0.8, 1.0))
"""Of the published table."""

TUNING: Final = Parts((0.0, 0.6), (0.6, 0.8))
"""For choosing settings, so that what the table compares with stays unseen."""


def data_file(particle: str) -> Path:
    """File of the showers of a particle under HEPFLOWS_DATA."""
    if "HEPFLOWS_DATA" not in os.environ:
        names = ", ".join(f"showers/{name}.h5" for name in PARTICLES)
        raise ConfigError("HEPFLOWS_DATA is not set", expected=f"a directory with {names}")
    return Path(os.environ["HEPFLOWS_DATA"]) / "showers" / f"{particle}.h5"


def showers_of(particle: str, part: tuple[float, float], further: Sequence[Path] = ()) -> cf.Showers:
    """A part of the particle's file, and all showers of further files."""
    own = cf.read_showers(data_file(particle), part=part)
    return cf.Showers.concatenate([own, *map(cf.read_showers, further)])


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A particle and a recipe.

    Attributes:
        particle: whose showers.
        recipe: what is trained, a name of `RECIPES`.
        directory: of everything that belongs to the cell.
    """

    particle: str
    recipe: str
    directory: Path

    @property
    def plan(self) -> Path:
        """Configuration, sizes and times of the trainings."""
        return self.directory / "plan.json"

    def artefact(self, kind: str) -> Path:
        """A trained generator."""
        return self.directory / kind

    def result(self, kind: str) -> Path:
        """What was measured of it."""
        return self.directory / f"{kind}.json"


def configuration(recipe: str, settings: Sequence[str]) -> CaloFlowConfig:
    """A recipe with some entries replaced, given as ``key=value``."""
    return build(
        CaloFlowConfig, with_overrides({"task": "calofast", **RECIPES[recipe]}, settings), where="configuration"
    )


def train(
    cell: Cell,
    *,
    part: tuple[float, float],
    settings: Sequence[str],
    further: Sequence[Path],
    reporter: Reporter | None,
    kinds: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Train a cell, or go on, or do nothing if it is trained; gives its plan.

    Args:
        cell: what to train.
        part: of the particle's file.
        settings: entries of the configuration as ``key=value``.
        further: files with more training showers.
        reporter: where progress goes.
        kinds: which of the recipe's generators, the first ones; None for all.
    """
    config = configuration(cell.recipe, settings)
    plan = json.loads(cell.plan.read_text(encoding="utf-8")) if cell.plan.exists() else {"generators": {}}
    kinds = kinds or KINDS[cell.recipe]
    if all(cell.artefact(kind).exists() for kind in kinds):
        return plan
    plan["config"] = config_to_dict(config)
    showers = showers_of(cell.particle, part, further)
    run = Run(directory=cell.directory / "training", resume=True, reporter=reporter or SilentReporter())
    generator: CaloGenerator | None = None
    for kind in kinds:
        if cell.artefact(kind).exists():
            generator = CaloGenerator.load(cell.artefact(kind))
            continue
        earlier = _seconds(generator)
        if generator is None:
            generator = cf.fit(cf.CaloFlow(showers.geometry, config), showers, run=run)
        else:
            generator = cf.distill(generator, showers, student=config.student, run=run)
        own = {name: spent for name, spent in _seconds(generator).items() if name not in earlier}
        plan["generators"][kind] = {"n_showers": len(showers), "seconds": round(sum(own.values()), 1)}
        write_json(cell.plan, plan)
        generator.save(cell.artefact(kind))
    return plan


def _seconds(generator: CaloGenerator | None) -> dict[str, float]:
    """Wall time of the epochs of each of a generator's trainings, interrupted or not."""
    trainings = {} if generator is None else generator.document["training"]
    return {
        name: sum(epoch["seconds"] for epoch in training["history"])
        for name, training in trainings.items()
        if isinstance(training, dict)
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
