"""Small valid files of every format, from which the mutated ones are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import h5py
import numpy as np
import uproot

from calofast import calochallenge, embedded_showers_path, read_showers, write_binning_xml, write_showers
from hepflows.feature_table import Column, FeatureTable
from hepflows.registry import load, task
from hepflows.table_files import write_table
from jetgen.reading import embedded_jets_path, read_jets
from jetgen.writing import write_jets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from calofast import Showers
    from exporters.exportable import Exportable
    from jetgen import Jets

Family = Literal["hdf5", "root", "parquet", "xml", "toml", "artefact", "onnx"]

_CALO = """
task = "calofast"
seed = 3
[data]
first = 60
[layer_energies]
blocks = 2
hidden = [8]
training = { epochs = 1, batch_size = 40 }
[teacher]
blocks = 2
hidden = [8]
training = { epochs = 1, batch_size = 40 }
[student]
hidden = [8]
training = { epochs = 1, batch_size = 40 }
"""
_JETS = """
task = "jetgen"
seed = 1
variants = ["exact"]
[data]
first = 120
particles = 8
[coupling]
blocks = 2
width = 16
[training]
epochs = 1
batch_size = 40
"""


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """A valid file or artefact directory.

    Attributes:
        name: of the format, as it stands in the report.
        family: how it is mutated and read.
        path: file or directory; an exported model has its manifest beside it.
        share: how many of all cases it gets, relative to the others.
    """

    name: str
    family: Family
    path: Path
    share: float = 1.0


def make_specimens(folder: Path, *, trained: bool = True) -> dict[str, Specimen]:
    """Write those that are not there yet.

    Args:
        folder: where to; it is created.
        trained: also artefacts and an exported model, for which something is trained for seconds.
    """
    files: dict[str, tuple[Family, float, Callable[[Path], object]]] = {
        "calogan.h5": ("hdf5", 2, _calogan),
        "calochallenge.hdf5": ("hdf5", 2, _calochallenge),
        "showers.h5": ("hdf5", 2, _own_showers),
        "jetnet.hdf5": ("hdf5", 2, _jetnet),
        "jets.h5": ("hdf5", 2, lambda path: write_jets(_jets(), path)),
        "table.h5": ("hdf5", 1, _table),
        "cells.root": ("root", 1.5, lambda path: write_showers(_showers(), path)),
        "hits.root": ("root", 1.5, _hits),
        "jets.root": ("root", 1, lambda path: write_jets(_jets(), path)),
        "jets.parquet": ("parquet", 1, lambda path: write_jets(_jets(), path)),
        "binning.xml": ("xml", 2, lambda path: write_binning_xml(calochallenge("photons"), path)),
        "calo.toml": ("toml", 1.5, lambda path: path.write_text(_CALO, encoding="utf-8")),
        "jets.toml": ("toml", 1, lambda path: path.write_text(_JETS, encoding="utf-8")),
    }
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Specimen] = {}
    for name, (family, share, write) in files.items():
        if not (folder / name).exists():
            write(folder / name)
        found[name] = Specimen(name=name, family=family, path=folder / name, share=share)
    return found | (_trained(folder) if trained else {})


def _trained(folder: Path) -> dict[str, Specimen]:
    from exporters import to_onnx
    from hepflows.config import load_config

    made = {}
    for name, task_name, kind, text, data in (
        ("calo", "calofast", "student", _CALO, embedded_showers_path()),
        ("jets", "jetgen", "exact", _JETS, embedded_jets_path()),
    ):
        (folder / f"train-{name}.toml").write_text(text, encoding="utf-8")
        label, artefact = f"artefact-{name}", folder / name / kind
        if not artefact.exists():
            config = load_config(folder / f"train-{name}.toml")
            task(task_name).train(config, data, folder / name)
        made[label] = Specimen(name=label, family="artefact", path=artefact, share=1.5)
        model = folder / f"export-{name}" / f"{name}.onnx"
        if not model.exists():
            to_onnx(cast("Exportable", load(artefact)), model)
        made[f"{name}.onnx"] = Specimen(name=f"{name}.onnx", family="onnx", path=model, share=1)
    return made


def _showers() -> Showers:
    return read_showers(embedded_showers_path(), first=40)


def _jets() -> Jets:
    return read_jets(embedded_jets_path(), first=40, particles=12)


def _calogan(path: Path) -> None:
    with h5py.File(embedded_showers_path()) as source, h5py.File(path, "w") as file:
        for name in ("energy", "layer_0", "layer_1", "layer_2", "overflow"):
            file.create_dataset(
                name, data=source[name][:40], compression="gzip", chunks=True, maxshape=(None, *source[name].shape[1:])
            )
        file["theta"] = np.linspace(0, 0.2, 40)
        file.attrs["particle"] = "e+"
        file["layer_0"].attrs["unit"] = "MeV"


def _calochallenge(path: Path) -> None:
    rng = np.random.default_rng(1)
    energy = np.geomspace(1e3, 1e5, 30)[:, None]
    shares = rng.dirichlet(np.full(368, 0.1), 30)
    with h5py.File(path, "w") as file:
        file.create_dataset("incident_energies", data=energy)
        file.create_dataset("showers", data=0.8 * energy * shares, compression="gzip", shuffle=True, chunks=(10, 92))


def _own_showers(path: Path) -> None:
    showers = read_showers(embedded_showers_path(), first=40)
    angle = np.linspace(0, 0.2, 40, dtype=np.float32)
    write_showers(replace(showers, conditions={"theta_rad": angle}, condition_units={"theta_rad": "rad"}), path)


def _jetnet(path: Path) -> None:
    with h5py.File(embedded_jets_path()) as source, h5py.File(path, "w") as file:
        for name in ("particle_features", "jet_features"):
            file.create_dataset(name, data=source[name][:40], compression="lzf")


def _table(path: Path) -> None:
    values = np.random.default_rng(2).normal(size=(50, 3))
    columns = (Column(name="mass", unit="GeV"), Column(name="pt", unit="GeV", log=True))
    table = FeatureTable(
        features=columns, values=np.exp(values[:, :2]), conditions=(Column(name="m"),), condition_values=values[:, 2:],
        provenance={}, more={},
    )  # fmt: skip
    write_table(table, path)


def _hits(path: Path) -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 20, 30)
    branches = {"hit_x": "var * float64", "hit_y": "var * float64", "hit_z": "var * float64",
                "hit_energy": "var * float64", "incident_energy": "float64", "pdg": "int32"}  # fmt: skip
    import awkward as ak

    def lists(values: np.ndarray) -> ak.Array:
        return ak.unflatten(values, counts)

    n = int(counts.sum())
    with uproot.recreate(path) as file:
        file.mktree("events", branches)
        file["events"].extend(
            {
                "hit_x": lists(10.0 * rng.integers(-20, 20, n) + 5),
                "hit_y": lists(10.0 * rng.integers(-20, 20, n) + 5),
                "hit_z": lists(rng.uniform(-239, 239, n)),
                "hit_energy": lists(rng.exponential(200.0, n)),
                "incident_energy": np.linspace(2.0, 20.0, 30),
                "pdg": np.full(30, -11, np.int32),
            }
        )
