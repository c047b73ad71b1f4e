"""A folder in which the examples of the pages run: small copies of the files that they name."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
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
    """eplus.h5, student.h5, large.h5, hits.root, top.hdf5."""
    folder = tmp_path_factory.mktemp("pages")
    showers = cf.read_showers(cf.embedded_showers_path(), first=1200)
    for name in ("eplus.h5", "large.h5"):
        cf.write_showers(showers.select(slice(0, 600)), folder / name)
    other = showers.select(slice(600, None))
    cf.write_showers(replace(other, voxels_mev=other.voxels_mev * np.float32(1.02)), folder / "student.h5")
    shutil.copy(ROOT / "tests/data/detector_hits.root", folder / "hits.root")
    jg.write_jets(jg.read_jets(jg.embedded_jets_path(), first=600), folder / "top.hdf5")
    return folder


@pytest.fixture(scope="session")
def generator_files(files, tmp_path_factory) -> Path:
    """The same with a generator that was hardly trained, runs/eplus/student, and its export, eplus/eplus.onnx."""
    folder = tmp_path_factory.mktemp("generator") / "files"
    shutil.copytree(files, folder)
    showers, short = cf.read_showers(folder / "eplus.h5"), {"epochs": 1}
    config = cf.CaloFlowConfig(
        layer_energies={"training": short},
        teacher={"blocks": 2, "hidden": (16, 16), "training": short},
        student={"hidden": (16, 16), "training": short},
    )
    student = cf.distill(cf.fit(cf.CaloFlow(showers.geometry, config), showers), showers)
    student.save(folder / "runs/eplus/student")
    exporters.to_onnx(student, folder / "eplus/eplus.onnx")
    return folder


@pytest.fixture
def working_folder(request, tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of that folder as working directory, with the examples to be imported."""
    files = request.getfixturevalue("generator_files" if request.node.get_closest_marker("slow") else "files")
    shutil.copytree(files, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(ROOT / "examples")
    before = set(sys.modules)
    yield tmp_path / "work"
    for name in set(sys.modules) - before:
        if name == "profile_plugin":
            del sys.modules[name]
