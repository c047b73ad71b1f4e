"""A folder in which the examples of the pages run: small copies of the files that they name."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import calofast as cf
import exporters
import jetgen as jg

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """runs/eplus/student, eplus/eplus.onnx, eplus.h5, student.h5, large.h5, hits.root, top.hdf5."""
    folder = tmp_path_factory.mktemp("pages")
    showers = cf.read_showers(cf.embedded_showers_path(), first=600)
    for name in ("eplus.h5", "large.h5"):
        cf.write_showers(showers, folder / name)
    short = {"epochs": 1}
    config = cf.CaloFlowConfig(
        layer_energies={"training": short},
        teacher={"blocks": 2, "hidden": (16, 16), "training": short},
        student={"hidden": (16, 16), "training": short},
    )
    student = cf.distill(cf.fit(cf.CaloFlow(showers.geometry, config), showers), showers)
    student.save(folder / "runs/eplus/student")
    exporters.to_onnx(student, folder / "eplus/eplus.onnx")
    inside = np.clip(showers.incident_energy_gev, *student.document["valid_range"]["incident_energy_gev"])
    cf.write_showers(student.sample(inside, seed=1), folder / "student.h5")
    shutil.copy(ROOT / "tests/data/detector_hits.root", folder / "hits.root")
    jg.write_jets(jg.read_jets(jg.embedded_jets_path(), first=600), folder / "top.hdf5")
    return folder


@pytest.fixture
def working_folder(files, tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of that folder as working directory, with the examples to be imported."""
    shutil.copytree(files, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(ROOT / "examples")
    before = set(sys.modules)
    yield tmp_path / "work"
    for name in set(sys.modules) - before:
        if name == "profile_plugin":
            del sys.modules[name]
