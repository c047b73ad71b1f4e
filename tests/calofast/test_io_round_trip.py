"""What is written is read back bit by bit, in every format."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from calofast.geometry import Geometry, calochallenge, calogan, calogan_hits
from calofast.layer import Layer
from calofast.reading import embedded_showers_path, iterate_showers, read_showers
from calofast.showers import Showers
from calofast.writing import write_showers
from hepflows.errors import DataError, GeometryError

SMALL_REGULAR = Geometry(
    "small",
    (
        Layer(name="front", kind="regular", x_edges_mm=(-2, 0, 2), y_edges_mm=(0, 1, 2, 3), z_mm=(0, 1)),
        Layer(name="back", kind="regular", x_edges_mm=(-2, 2), y_edges_mm=(0, 3)),
    ),
    particle="e-",
)
SMALL_RINGS = Geometry(
    "rings",
    (
        Layer(name="layer_0", kind="cylindrical", r_edges_mm=(0, 1.5, 4), n_alpha=3),
        Layer(name="layer_4", kind="cylindrical", r_edges_mm=(0, 9), n_alpha=1, z_mm=(0, 2)),
    ),
    particle="photon",
)
MIXED = Geometry("mixed", (SMALL_REGULAR.layers[0], SMALL_RINGS.layers[0]))
FORMATS = [
    ("calogan", SMALL_REGULAR),
    ("calochallenge", SMALL_RINGS),
    ("calochallenge", MIXED),
    ("root-cells", SMALL_REGULAR),
    ("root-cells", SMALL_RINGS),
    ("root-cells", MIXED),
    ("parquet", SMALL_REGULAR),
    ("parquet", SMALL_RINGS),
]
floats = st.floats(0, 1e6, width=32)
energies = st.floats(np.float32(0.01), 1e6, width=32)


@st.composite
def shower_sets(draw, geometry):
    n = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    voxels = rng.exponential(10.0, (n, geometry.n_voxels)) * (rng.random((n, geometry.n_voxels)) < 0.6)
    voxels[0, 0] = draw(floats)
    conditions = {}
    for name in draw(st.sets(st.sampled_from(["theta_rad", "eta", "x_mm", "spin"]))):
        conditions[name] = rng.normal(size=n)
    return Showers(
        geometry=geometry,
        incident_energy_gev=draw(st.lists(energies, min_size=n, max_size=n)),
        voxels_mev=voxels,
        overflow_mev=rng.exponential(1.0, (n, geometry.n_layers)) if draw(st.booleans()) else None,
        weights=rng.normal(size=n) if draw(st.booleans()) else None,
        pdg=draw(st.sampled_from([None, 11, -211])),
        conditions=conditions,
        condition_units={"spin": "hbar"} if "spin" in conditions else {},
        provenance={"program": "test", "note": draw(st.text(max_size=10))},
    )


def assert_equal(again, showers):
    assert again.geometry == showers.geometry
    for name in ("incident_energy_gev", "voxels_mev", "overflow_mev", "weights"):
        first, second = getattr(again, name), getattr(showers, name)
        assert (first is None) == (second is None), name
        if first is not None:
            assert first.dtype == np.float32
            assert first.tobytes() == second.tobytes(), name
    assert dict(again.condition_units) == dict(showers.condition_units)
    for name, values in showers.conditions.items():
        assert again.conditions[name].tobytes() == values.tobytes()
    assert again.pdg == showers.pdg
    first, second = ({**one.provenance, "file": ""} for one in (again, showers))
    assert first == second


@pytest.mark.parametrize(("layout", "geometry"), FORMATS, ids=lambda value: getattr(value, "name", value))
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_round_trip_is_exact(layout, geometry, data):
    showers = data.draw(shower_sets(geometry))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / {"root-cells": "f.root", "parquet": "f.parquet"}.get(layout, "f.h5")
        assert write_showers(showers, path, format=layout) == path
        # Random energies have no plausible E_tot / E_inc: stating both units switches the check off.
        energy_unit = "MeV" if layout == "calochallenge" else "GeV"
        assert_equal(read_showers(path, units={"incident_energy": energy_unit, "voxels": "MeV"}), showers)


@pytest.mark.parametrize("name", ["f.h5", "f.root", "f.parquet"])
def test_the_embedded_showers_survive_both_formats(tmp_path, name):
    showers = read_showers(embedded_showers_path(), first=50)
    assert_equal(read_showers(write_showers(showers, tmp_path / name)), showers)


@pytest.mark.parametrize("suffix", [".h5", ".root", ".parquet"])
def test_thousands_of_voxels(tmp_path, suffix):
    geometry = calochallenge("dataset_2")
    rng = np.random.default_rng(1)
    showers = Showers(
        geometry=geometry,
        incident_energy_gev=rng.uniform(10, 20, 4),
        voxels_mev=rng.exponential(1.5, (4, geometry.n_voxels)),
        overflow_mev=rng.exponential(1.0, (4, 45)),
        pdg=11,
    )
    assert_equal(read_showers(write_showers(showers, tmp_path / f"f{suffix}")), showers)


@pytest.mark.parametrize(("layout", "geometry"), FORMATS[:4:3] + FORMATS[1:2], ids=lambda v: getattr(v, "name", v))
def test_writing_in_chunks_gives_the_same_showers(tmp_path, layout, geometry):
    rng = np.random.default_rng(2)
    whole = Showers(
        geometry=geometry,
        incident_energy_gev=rng.uniform(1, 2, 11),
        voxels_mev=rng.exponential(100.0, (11, geometry.n_voxels)),
        conditions={"eta": rng.normal(size=11)},
    )
    parts = [whole.select(slice(start, start + 4)) for start in range(0, 11, 4)]
    path = tmp_path / ("f.root" if layout == "root-cells" else "f.h5")
    write_showers((part for part in [whole.select(slice(0, 0)), *parts]), path, format=layout)
    assert_equal(read_showers(path), whole)
    assert_equal(Showers.concatenate(list(iterate_showers(path, chunk_size=3))), whole)


def test_streaming_from_one_format_to_the_other(tmp_path):
    path = write_showers(iterate_showers(embedded_showers_path(), chunk_size=70, first=200), tmp_path / "a.root")
    assert_equal(read_showers(path), read_showers(embedded_showers_path(), first=200))


def test_layouts_are_those_of_the_published_files(tmp_path):
    showers = read_showers(embedded_showers_path(), first=5)
    with h5py.File(write_showers(showers, tmp_path / "a.h5")) as file:
        assert {name: file[name].shape for name in file if name != "hepflows"} == {
            "energy": (5, 1),
            "layer_0": (5, 3, 96),
            "layer_1": (5, 12, 12),
            "layer_2": (5, 12, 6),
            "overflow": (5, 3),
        }
        assert np.array_equal(file["layer_1"][:].reshape(5, -1), showers.voxels_mev[:, 288:432])
        assert file["energy"].attrs["unit"] == "GeV"
    with uproot.open(write_showers(showers, tmp_path / "a.root")) as file:
        tree = file["fancy_tree"]
        assert tree.keys() == [*(f"cell_{i}" for i in range(507)), "TotalEnergy", "pdg"]
        assert np.array_equal(tree["cell_506"].array(library="np"), showers.overflow_mev[:, 2])
    rings = Showers(geometry=SMALL_RINGS, incident_energy_gev=[2.0], voxels_mev=np.full((1, 7), 100.0))
    with h5py.File(write_showers(rings, tmp_path / "b.hdf5")) as file:
        assert file["incident_energies"][:].tolist() == [[2000.0]]
        assert file["showers"].shape == (1, 7)
    assert (tmp_path / "b.xml").is_file()


def test_files_of_other_programs_carry_no_metadata(tmp_path):
    path = tmp_path / "foreign.hdf5"
    rng = np.random.default_rng(3)
    incident = rng.uniform(1e3, 2e3, (4, 1))
    showers = rng.exponential(3.0, (4, 368))
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = incident, showers
        file["theta"] = np.arange(4.0)
    read = read_showers(path)
    assert read.geometry == calochallenge("photons")
    assert read.pdg == 22
    assert np.allclose(read.incident_energy_gev, incident[:, 0] / 1000)
    assert np.array_equal(read.voxels_mev, showers.astype(np.float32))
    assert dict(read.condition_units) == {"theta_rad": "rad"}


def test_mixed_particles_keep_their_codes(tmp_path):
    base = read_showers(embedded_showers_path(), first=4)
    mixed = dataclasses.replace(base, pdg=None, conditions={"pdg": np.array([11, 22, 11, 22])})
    for name in ("a.h5", "a.root"):
        path = write_showers(mixed, tmp_path / name)
        assert read_showers(path).conditions["pdg"].tolist() == [11, 22, 11, 22]
        photons = read_showers(path, pdg=22)
        assert photons.pdg == 22
        assert np.array_equal(photons.voxels_mev, base.voxels_mev[1::2])


@pytest.mark.parametrize(
    ("name", "layout", "geometry", "error", "message"),
    [
        ("a.h5", "calogan", SMALL_RINGS, GeometryError, "regular layers only"),
        ("a.dat", None, SMALL_REGULAR, DataError, "suffix tells no format"),
        ("a.h5", "arrow", SMALL_REGULAR, DataError, "unknown file format"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused(tmp_path, name, layout, geometry, error, message):
    showers = Showers(geometry=geometry, incident_energy_gev=[1.0], voxels_mev=np.ones((1, geometry.n_voxels)))
    with pytest.raises(error, match=message):
        write_showers(showers, tmp_path / name, format=layout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.h5", "a.root"])
@pytest.mark.parametrize("kind", ["condition", "particle", "geometry", "nothing"])
def test_a_failed_stream_leaves_nothing(tmp_path, name, kind):
    one = read_showers(embedded_showers_path(), first=3)
    hits = Showers(
        geometry=calogan_hits(),
        incident_energy_gev=[1.0],
        voxels_mev=np.ones((1, 360)),
        overflow_mev=np.ones((1, 3)),
    )
    second = {
        "condition": dataclasses.replace(one, conditions={"eta": np.ones(3)}),
        "particle": dataclasses.replace(one, pdg=22),
        "geometry": hits,
    }
    chunks = [one, second[kind]] if kind != "nothing" else []
    with pytest.raises(DataError):
        write_showers(iter(chunks), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "taken"), [("a.h5", "energy"), ("a.root", "TotalEnergy")])
def test_conditions_cannot_take_the_names_of_other_data(tmp_path, name, taken):
    one = dataclasses.replace(read_showers(embedded_showers_path(), first=3), conditions={taken: np.ones(3)})
    with pytest.raises(DataError, match=taken):
        write_showers(one, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_calogan_is_the_default_for_regular_layers(tmp_path):
    hits = Showers(geometry=calogan_hits(), incident_energy_gev=[1.0], voxels_mev=np.ones((1, 360)))
    with h5py.File(write_showers(hits, tmp_path / "a.h5")) as file:
        assert file["layer_0"].shape == (1, 3, 48)
        del_metadata = [name for name in file if name != "hepflows"]
    assert "showers" not in del_metadata
    assert calogan().n_voxels == 504
