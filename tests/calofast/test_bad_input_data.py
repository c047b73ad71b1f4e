"""Every bad shower file gives a clear message, exit code 2."""

from __future__ import annotations

import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot

from calofast.describe import describe_file
from calofast.geometry import calochallenge, calogan
from calofast.reading import embedded_showers_path, iterate_showers, read_showers
from calofast.writing import write_showers
from hepflows.errors import DataError, GeometryError, UnitsError

DATA = Path(__file__).parents[1] / "data"
HITS = DATA / "detector_hits.root"
CELLS = DATA / "eplus_cells.root"
EPLUS = embedded_showers_path()


def refused(path, message, error=DataError, **settings):
    """Every way to read raises the same error, which names the file."""
    for read in (read_showers, describe_file, lambda *args, **kwargs: list(iterate_showers(*args, **kwargs))):
        with pytest.raises(error, match=message) as caught:
            read(path, **settings)
        assert caught.value.exit_code == 2
        assert str(path) in str(caught.value)


def calogan_file(path, change=None, n=4):
    """A small CaloGAN file of another program; `change` edits its arrays."""
    with h5py.File(EPLUS) as source:
        arrays = {name: source[name][:n] for name in ("energy", "layer_0", "layer_1", "layer_2", "overflow")}
    if change is not None:
        change(arrays)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def cell_file(path, change=None, n=4):
    """A small flat-cell tree; `change` edits its branches."""
    showers = read_showers(EPLUS, first=n)
    cells = np.hstack([showers.voxels_mev, showers.overflow_mev])
    branches = {f"cell_{i}": column.copy() for i, column in enumerate(cells.T)}
    branches["TotalEnergy"] = showers.incident_energy_gev.copy()
    if change is not None:
        change(branches)
    with uproot.recreate(path) as file:
        file.mktree("fancy_tree", {name: values.dtype for name, values in branches.items()})
        if n:
            file["fancy_tree"].extend(branches)
    return path


# --- the file itself


def test_missing_file_and_directory(tmp_path):
    refused(tmp_path / "none.h5", "shower file does not exist")
    refused(tmp_path, "shower file is a directory")


@pytest.mark.parametrize("name", ["f.txt", "f.h5", "f.root", "f"])
@pytest.mark.parametrize("content", [b"", b"energy,cell\n1,2\n" * 9, bytes(4096)], ids=["empty", "text", "zeros"])
def test_neither_hdf5_nor_root(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path, "not an HDF5 file|neither an HDF5 nor a ROOT nor a Parquet file")


@pytest.mark.parametrize("source", [EPLUS, HITS, CELLS], ids=lambda path: path.name)
@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.999])
def test_truncated(tmp_path, source, share):
    path = tmp_path / f"cut{source.suffix}"
    content = source.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "truncated or damaged|not an HDF5 file")


@pytest.mark.parametrize("source", [EPLUS, HITS, CELLS], ids=lambda path: path.name)
def test_damaged_in_the_middle(tmp_path, source):
    path = tmp_path / f"damaged{source.suffix}"
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    refused(path, "truncated or damaged")


def test_a_branch_whose_type_is_damaged(monkeypatch):
    def damaged(_):  # what uproot 5.7 raises on some flipped bits
        raise AttributeError("'NoneType' object has no attribute 'member'")

    monkeypatch.setattr(uproot.TBranch, "interpretation", property(damaged))
    refused(HITS, "truncated or damaged")


def test_root_named_hdf5_is_still_read(tmp_path):
    path = tmp_path / "hits.h5"
    path.write_bytes(HITS.read_bytes())
    assert len(read_showers(path, first=5)) == 5
    refused(path, "not an HDF5 file", format="calogan")


# --- missing and misshapen parts


@pytest.mark.parametrize("name", ["energy", "layer_0", "layer_1", "layer_2"])
def test_missing_data_set(tmp_path, name):
    path = calogan_file(tmp_path / "f.h5", lambda arrays: arrays.pop(name))
    refused(path, f"data set '{name}' is missing")


def test_missing_data_set_of_the_calochallenge(tmp_path):
    for name, other in (("showers", "incident_energies"), ("incident_energies", "showers")):
        path = tmp_path / f"{name}.hdf5"
        with h5py.File(path, "w") as file:
            file[other] = np.ones((3, 1))
        refused(path, f"data set '{name}' is missing")


def test_unknown_layout(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["particle_features"] = np.ones((3, 30, 4))
    refused(path, "neither the CaloGAN nor the CaloChallenge layout[\\s\\S]*particle_features")


@pytest.mark.parametrize("name", ["cell_0", "cell_17", "TotalEnergy"])
def test_missing_branch(tmp_path, name):
    path = cell_file(tmp_path / "f.root", lambda branches: branches.pop(name))
    refused(path, f"fancy_tree: branch '{name}' is missing")


@pytest.mark.parametrize("name", ["hit_x", "hit_energy", "incident_energy"])
def test_missing_branch_of_hits(tmp_path, name):
    path = tmp_path / "f.root"
    types = {
        "incident_energy": "f4",
        **dict.fromkeys(("hit_x", "hit_y", "hit_z", "hit_energy"), "var * float32"),
    }
    types.pop(name)
    with uproot.recreate(path) as file:
        file.mktree("events", types, counter_name=lambda branch: f"n_{branch}")
        with uproot.open(HITS) as source:
            file["events"].extend({key: source["events"][key].array(entry_stop=3) for key in types})
    refused(path, f"branch '{name}' is missing")


def test_trees(tmp_path):
    refused(HITS, r"no such tree[\s\S]*events", tree="showers")
    path = tmp_path / "none.root"
    with uproot.recreate(path) as file:
        file["note"] = "no tree"
    refused(path, "no tree in the file")
    path = tmp_path / "other.root"
    with uproot.recreate(path) as file:
        file.mktree("jets", {"pt": "f4"})
        file["jets"].extend({"pt": np.ones(3, dtype=np.float32)})
    refused(path, "neither cells nor hits")
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        for name in ("a", "b"):
            file.mktree(name, {"cell_0": "f4", "TotalEnergy": "f4"})
    refused(path, "several trees could be meant")


def transpose(arrays):
    arrays["layer_0"] = arrays["layer_0"].transpose(0, 2, 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (transpose, GeometryError, r"layer_0 \(N, 96, 3\)"),
        (
            lambda a: a.update(layer_1=a["layer_1"][:3]),
            DataError,
            r"layer_1: wrong shape[\s\S]*4, 12, 12[\s\S]*3, 12, 12",
        ),
        (
            lambda a: a.update(energy=a["energy"].repeat(2, axis=1)),
            DataError,
            r"energy: wrong shape[\s\S]*\(N, 1\)",
        ),
        (lambda a: a.update(overflow=a["overflow"][:, :2]), DataError, "overflow: wrong shape"),
        (lambda a: a.update(layer_3=np.ones((4, 2, 2))), GeometryError, "layer_3"),
        (lambda a: a.update(energy=np.full((4, 1), b"12")), DataError, "energy: not a number"),
        (lambda a: a.update(layer_2=np.full((4, 12, 6), b"12")), DataError, "layer_2: not a number"),
    ],
)
def test_wrong_shape_or_type(tmp_path, change, error, message):
    refused(calogan_file(tmp_path / "f.h5", change), message, error)


def test_zero_events(tmp_path):
    def empty(arrays):
        for name in arrays:
            arrays[name] = arrays[name][:0]

    refused(calogan_file(tmp_path / "f.h5", empty), "the file holds no showers")
    path = tmp_path / "f.root"
    with uproot.recreate(path) as file:
        file.mktree("fancy_tree", {"cell_0": "f4", "TotalEnergy": "f4"})
    refused(path, "the file holds no showers")


def test_nothing_selected():
    refused(
        EPLUS,
        r"no showers are left[\s\S]*4000 entries of 1\.01\d* to 99\.99",
        energy_range_gev=(200.0, 300.0),
    )
    refused(EPLUS, r"no showers are left[\s\S]*-11", pdg=22)
    refused(CELLS, "does not tell its particles", pdg=11)


@pytest.mark.parametrize(
    "settings",
    [
        {"format": "csv"},
        {"part": (0.5, 0.5)},
        {"part": (-0.1, 1.0)},
        {"first": 0},
        {"energy_range_gev": (2.0, 1.0)},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(DataError, match=next(iter(settings))):
        read_showers(EPLUS, **settings)


# --- values


def put(name, index, value):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("layer_1", (2, 3, 4), np.nan), r"entry 2, layer_1\[3, 4\] \(voxel 328\): energy is not finite"),
        (put("layer_0", (1, 0, 5), -3.0), r"entry 1, layer_0\[0, 5\] .*: negative energy[\s\S]*-3"),
        (put("layer_2", (0, 11, 5), np.inf), r"entry 0, layer_2\[11, 5\] .*: energy is not finite"),
        (put("overflow", (3, 1), -1e-3), "entry 3, overflow of layer 1: negative energy"),
        (put("energy", (2, 0), np.nan), "entry 2: the incident energy is not a positive number"),
        (put("energy", (1, 0), -5.0), r"entry 1: the incident energy is not a positive number[\s\S]*-5 GeV"),
        (put("energy", (1, 0), 0.0), "entry 1: the incident energy is not a positive number"),
    ],
)
def test_impossible_values_are_named(tmp_path, change, message):
    refused(calogan_file(tmp_path / "f.h5", change), message)


def test_impossible_values_in_root(tmp_path):
    path = cell_file(tmp_path / "f.root", lambda b: b["cell_290"].__setitem__(1, -1.0))
    refused(path, r"entry 1, layer_1\[0, 2\] \(voxel 290\): negative energy")


def beside(**columns):
    def change(arrays):
        arrays.update(columns)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (beside(weights=np.ones(5)), r"weights: wrong shape[\s\S]*expected: \(4\)[\s\S]*\(5,\)"),
        (beside(weight=np.ones((3, 1))), r"weight: wrong shape[\s\S]*expected: \(4, 1\)"),
        (beside(pdg=np.array([11])), r"pdg: wrong shape"),
        (beside(pdg=np.array([11, 11, np.nan, 22])), r"pdg\[2\]: not a PDG code[\s\S]*nan"),
        (beside(pdg=np.array([11, 11.5, 11, 22])), r"pdg\[1\]: not a PDG code[\s\S]*11\.5"),
        (beside(theta=np.ones(4), theta_rad=np.ones(4)), r"two scalars would be the condition theta_rad"),
    ],
)
def test_what_stands_beside_the_showers(tmp_path, change, message):
    refused(calogan_file(tmp_path / "f.h5", change), message)


def test_a_unit_that_contradicts_the_name(tmp_path):
    path = calogan_file(tmp_path / "f.h5", beside(theta_rad=np.full(4, 30.0)))
    read_showers(path)
    with h5py.File(path, "a") as file:
        file["theta_rad"].attrs["unit"] = "deg"
    refused(path, r"theta_rad: the name of a condition and its unit[\s\S]*rad[\s\S]*deg", UnitsError)


def test_the_particle_may_be_asked_for_as_a_condition(tmp_path):
    codes = np.array([11, 22, 11, 22])
    for path in (
        calogan_file(tmp_path / "f.h5", beside(pdg=codes)),
        cell_file(tmp_path / "f.root", beside(pdg=codes)),
        write_showers(read_showers(calogan_file(tmp_path / "m.h5", beside(pdg=codes))), tmp_path / "f.parquet"),
    ):
        showers = read_showers(path, conditions=("pdg",))
        assert showers.pdg is None
        assert showers.conditions["pdg"].tolist() == codes.tolist()
    refused(EPLUS, r"pdg: no such scalar", conditions=("pdg",))


def test_the_entry_is_the_one_in_the_file(tmp_path):
    path = calogan_file(tmp_path / "f.h5", put("layer_1", (17, 0, 0), np.nan), n=20)
    refused(path, "entry 17, ", part=(0.5, 1.0))
    stream = iterate_showers(path, chunk_size=5)
    assert len(list(itertools.islice(stream, 3))) == 3
    with pytest.raises(DataError, match="entry 17, "):
        next(stream)
    assert len(read_showers(path, first=17)) == 17


def test_bad_hits_are_named(tmp_path):
    with uproot.open(HITS) as source:
        arrays = source["events"].arrays(["hit_x", "hit_y", "hit_energy", "hit_layer", "incident_energy"], entry_stop=6)
    counts = np.array([len(hits) for hits in arrays["hit_x"]])
    for name, value, message in (
        ("hit_energy", -1.0, "negative energy of a hit"),
        ("hit_x", np.nan, "hit_x is not finite"),
        ("hit_layer", 3, "hit_layer is not in 0 "),
    ):
        columns = {key: arrays[key] for key in arrays.fields}
        flat = np.concatenate([np.asarray(hits) for hits in columns[name]])
        flat[counts[:4].sum() + 2] = value
        columns[name] = type(arrays["hit_x"])(np.split(flat, np.cumsum(counts)[:-1]))
        path = tmp_path / f"{name}.root"
        with uproot.recreate(path) as file:
            kinds = {key: "var * int32" if key == "hit_layer" else "var * float32" for key in columns}
            file.mktree("events", kinds | {"incident_energy": "f4"}, counter_name=lambda branch: f"n_{branch}")
            file["events"].extend(columns)
        refused(path, f"entry 4, hit 2: {message}")


# --- geometry


def test_geometry_that_does_not_match(tmp_path):
    refused(EPLUS, "geometry does not match the data", GeometryError, geometry=calochallenge("photons"))
    refused(
        CELLS,
        r"geometry does not match[\s\S]*368[\s\S]*507",
        GeometryError,
        geometry=calochallenge("photons"),
    )
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = np.full((2, 1), 1e4), np.ones((2, 400))
    refused(path, r"no standard geometry has this number of voxels[\s\S]*binning_xml=", GeometryError)
    refused(path, r"504 voxels of calogan", GeometryError, geometry=calogan())
    path = cell_file(tmp_path / "f.root", lambda branches: branches.pop("cell_506"))
    refused(path, r"no standard geometry[\s\S]*506", GeometryError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "stored description is damaged"),
        ("[]", "stored description is damaged"),
        (
            '{"schema": "hepflows-showers/9", "pdg": null, "condition_units": {}, "provenance": {}}',
            "another version",
        ),
        (
            '{"schema": "hepflows-showers/1", "pdg": null, "condition_units": {}, "provenance": {}}',
            r"hepflows\.geometry: not a table",
        ),
    ],
)
def test_damaged_metadata(tmp_path, text, message):
    path = calogan_file(tmp_path / "f.h5")
    with h5py.File(path, "a") as file:
        file["hepflows"] = text
    refused(path, message)
