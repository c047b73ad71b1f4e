"""What the jet studies are asked for, where their results lie, and that nothing is done twice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

import jetgen as jg
from benchmarks.jet_runs import TRAINED_PART, Cell, data_file
from hepflows.benchmarking.machine import describe_machine
from hepflows.errors import ConfigError
from hepflows.files import atomic_file
from jetgen.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CONDITIONED = tuple(name for name, preset in PRESETS.items() if "mass" in preset.condition)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is asked for.

    Attributes:
        out: directory of all results.
        kind: class of jets.
        minutes: processor time of each training.
        overrides: entries of the configuration as ``key=value``.
        generated: jets of each sample; None takes what the study needs. `oversampling` goes by `first` instead.
        real: at most so many held-out jets, and so many real jets to compare with them; None takes all.
        classifier: whether `transform` trains classifiers for the AUC.
        particles: numbers of constituents of `constituents`.
        cells: directory of generators from the jet table, ``KIND/VARIANT/generator``.
        window: relative masses of `window`.
        first: training jets of `oversampling`.
    """

    out: Path
    kind: str = "t"
    minutes: float = 8.0
    overrides: tuple[str, ...] = ()
    generated: int | None = None
    real: int | None = None
    classifier: bool = True
    particles: tuple[int, ...] = (2, 3, 5, 7, 10, 15, 20, 30)
    cells: Path | None = None
    window: tuple[float, float] = (0.08, 0.1)
    first: int = 4000

    def place(self, *parts: str) -> Path:
        """Directory of a result or of several."""
        return self.out.joinpath(self.kind, *parts)

    def held_out(self, *, particles: int | None = None) -> jg.Jets:
        """Jets that no training sees."""
        part = (TRAINED_PART[1], 1.0)
        return jg.read_jets(data_file(self.kind), part=part, particles=particles, first=self.real)

    def trained_on(self, *, particles: int | None = None) -> jg.Jets:
        """Jets for training; compared with held-out ones they are the floor."""
        return jg.read_jets(data_file(self.kind), part=TRAINED_PART, particles=particles, first=self.real)

    def conditioned(self) -> list[Cell]:
        """The generators of the jet table that have the mass as a condition.

        Raises:
            ConfigError: there is none.
        """
        if self.cells is None:
            raise ConfigError("the study needs generators of the jet table", where="--cells", expected="a directory")
        every = [Cell(kind=self.kind, variant=v, directory=self.cells / self.kind / v) for v in CONDITIONED]
        found = [cell for cell in every if cell.artefact.exists()]
        if not found:
            raise ConfigError("no generators", where=self.cells, expected=f"{self.kind}/VARIANT/generator")
        for cell in every:
            if cell not in found:
                _say(f"{cell.variant} is left out: there is no {cell.artefact}")
        return found


def once(s: Settings, directory: Path, make: Callable[[], Mapping[str, Any]]) -> None:
    """Write what `make` gives to ``KIND/STUDY/.../NAME/result.json`` below the output, unless that exists."""
    path = directory / "result.json"
    if not path.exists():
        study, *group, name = directory.relative_to(s.place()).parts
        head = {"kind": s.kind, "study": study, "group": "/".join(group), "name": name}
        content = {**head, **make(), "machine": describe_machine()}
        with atomic_file(path, force=True) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _say(str(path))


def collect(out: Path) -> list[dict[str, Any]]:
    """All results below a directory; those of the jet table, which may lie there as well, are passed over.

    Raises:
        ConfigError: there are none.
    """
    every = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.rglob("result.json"))]
    if not (found := [entry for entry in every if "study" in entry]):
        raise ConfigError("no results of a study", where=out, remedy="run one into this directory")
    return found


def _say(text: str) -> None:
    Console(stderr=True).print(text, soft_wrap=True, markup=False, highlight=False)
