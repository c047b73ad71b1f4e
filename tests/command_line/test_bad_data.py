"""Every bad data file is refused by every command: what and where it is, what to do, nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from calofast.reading import embedded_showers_path

if TYPE_CHECKING:
    from pathlib import Path

EPLUS = embedded_showers_path()

BAD_FILES = {
    "none.h5": ("does not exist",),
    "directory.h5": ("",),
    "text.h5": ("",),
    "cut.h5": ("truncated",),
    "cut.root": ("fancy_tree", "truncated or damaged"),
    "missing.h5": ("data set 'layer_1' is missing", "found: energy, layer_0, layer_2, overflow"),
    "branch.root": ("branch 'cell_17' is missing", "expected: cell_0 ... cell_506"),
    "shape.h5": ("(N, 96, 3)", "expected: layer_0 (N, 3, 96)"),
    "nan.h5": ("entry 5, layer_1[3, 3] (voxel 327): energy is not finite",),
    "negative.h5": ("entry 5, layer_1[3, 3] (voxel 327): negative energy", "found: -1"),
    "energy.h5": ("entry 5: the incident energy is not a positive number", "found: nan"),
    "empty.h5": ("the file holds no showers",),
    "mev.h5": ("--read units.incident_energy=MeV", "--set data.units.incident_energy=MeV"),
    "gev.h5": ("--read units.voxels=GeV", "--set data.units.voxels=GeV"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_data_file(made: Path, refused, name: str) -> None:
    path, teacher = made / "bad" / name, made / "run" / "teacher"
    words = (str(path), "what to do", *BAD_FILES[name])
    if name != "directory.h5":  # which could be an artefact
        refused("inspect", path, says=words)
    refused("train", made / "config.toml", "--data", path, "--out", "new/run", says=words)
    refused("distill", teacher, "--data", path, "--out", "new/student", says=words)
    refused("generate", teacher, "--like", path, "--seed", 1, "--out", "o.h5", says=words)
    refused("validate", path, made / "teacher.h5", "--out", "report", says=words)
    refused("validate", EPLUS, f"x={path}", "--out", "report", says=words)


def test_geometry_that_does_not_match(made: Path, refused) -> None:
    rings, told = made / "bad" / "rings.hdf5", ("504 voxels", "368 voxels", "rings.hdf5", "what to do")
    refused("distill", made / "run" / "teacher", "--data", rings, "--out", "new", says=told)
    refused("validate", EPLUS, rings, "--out", "report", says=told)
    refused(
        "inspect", rings, "--read", "geometry=calochallenge_pions", says=("533 voxels", "found: 368", "binning_xml")
    )


def test_too_few_showers(made: Path, refused) -> None:
    train = ("train", made / "config.toml", "--data", EPLUS, "--out", "run")
    refused(*train, "--set", "data.first=10", says=("eplus.h5: too few", "at least 20", "found: 9"))
    refused(
        "validate", EPLUS, made / "teacher.h5", "--out", "r", "--read", "first=20", says=("reference", "at least 100")
    )
