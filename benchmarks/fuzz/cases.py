"""One case: a mutated copy of a specimen, made from a seed and a number alone."""

from __future__ import annotations

import shutil
from random import Random
from typing import TYPE_CHECKING

from benchmarks.fuzz import bytewise, hdf5, texts
from benchmarks.fuzz.artefacts import mutated_artefact, mutated_model

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.fuzz.specimens import Specimen


def make_case(specimen: Specimen, *, seed: int, number: int, folder: Path) -> tuple[Path, str]:
    """Write case `number` of a specimen into an empty folder; returns what to read, and what was done to it."""
    rng = Random(f"{seed}/{specimen.name}/{number}")  # noqa: S311 - reproducible, not secret
    folder.mkdir(parents=True)
    path = folder / specimen.path.name
    match specimen.family:
        case "artefact":
            shutil.copytree(specimen.path, path)
            return path, mutated_artefact(path, rng)
        case "onnx":
            for file in (specimen.path, specimen.path.with_suffix(".manifest.json")):
                shutil.copy(file, folder)
            return path, mutated_model(path, rng)
    shutil.copy(specimen.path, path)
    structured = rng.random() < (0.5 if specimen.family == "hdf5" else 0.7)
    if specimen.family == "hdf5" and structured:
        return path, hdf5.mutated(path, rng)
    if specimen.family in ("toml", "xml") and structured:
        change = texts.mutated_toml if specimen.family == "toml" else texts.mutated_xml
        text, done = change(path.read_text(encoding="utf-8"), rng)
        path.write_text(text, encoding="utf-8")
        return path, done
    data, done = bytewise.mutated(path.read_bytes(), rng)
    path.write_bytes(data)
    return path, done
