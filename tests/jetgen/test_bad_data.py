"""Every bad jet file gives a clear message, exit code 2."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from hepflows.errors import DataError, MissingDependencyError, UnitsError
from jetgen.describe import describe_file
from jetgen.jagged import jagged_file
from jetgen.reading import embedded_jets_path, iterate_jets, read_jets
from jetgen.writing import write_jets

TOPS = Path(__file__).parents[1] / "data" / "top_jets.root"
EMBEDDED = embedded_jets_path()


def refused(path, message, error=DataError, **settings):
    """Every way to read raises the same error, which names the file."""
    for read in (read_jets, describe_file, lambda *args, **kwargs: list(iterate_jets(*args, **kwargs))):
        with pytest.raises(error, match=message) as caught:
            read(path, **settings)
        assert caught.value.exit_code == 2
        assert str(path) in str(caught.value)


def jetnet_file(path, change=None, n=5):
    """A small JetNet file of another program; `change` edits its arrays."""
    with h5py.File(EMBEDDED) as source:
        arrays = {name: source[name][:n] for name in ("particle_features", "jet_features")}
    if change is not None:
        change(arrays)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def tree_file(path, change=None, n=5):
    """A small tree of jagged branches; `change` edits its columns."""
    with uproot.open(TOPS) as file:
        source = file["Jets"].arrays(entry_stop=n)
    columns = {
        name: ak.to_list(source[name]) if name.startswith("part") else np.array(source[name])
        for name in source.fields
        if name != "npart"
    }
    if change is not None:
        change(columns)
    types, values = {}, {}
    for name, column in columns.items():
        jagged = isinstance(column, list)
        types[name] = "var * float32" if jagged else column.dtype
        values[name] = ak.values_astype(ak.Array(column), np.float32) if jagged else column
    with uproot.recreate(path) as file:
        file.mktree("Jets", types, counter_name=lambda branch: f"n_{branch}")
        file["Jets"].extend(values)
    return path


# --- the file itself


def test_missing_file_and_directory(tmp_path):
    refused(tmp_path / "none.h5", "jet file does not exist")
    refused(tmp_path, "jet file is a directory")


@pytest.mark.parametrize("name", ["f.txt", "f.h5", "f.root", "f.parquet", "f"])
@pytest.mark.parametrize("content", [b"", b"pt,eta\n1,2\n" * 9, bytes(4096)], ids=["empty", "text", "zeros"])
def test_no_known_format(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path, "not an HDF5 file|neither an HDF5, nor a ROOT, nor a Parquet file")


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    return write_jets(read_jets(TOPS), tmp_path_factory.mktemp("parquet") / "f.parquet")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("name", ["hdf5", "root", "parquet"])
def test_truncated(tmp_path, parquet, name, share):
    content = {"hdf5": EMBEDDED, "root": TOPS, "parquet": parquet}[name].read_bytes()
    path = tmp_path / f"cut.{name}"
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "truncated or damaged|not an HDF5 file")


@pytest.mark.parametrize("name", ["hdf5", "root", "parquet"])
def test_damaged_in_the_middle(tmp_path, parquet, name):
    content = bytearray({"hdf5": EMBEDDED, "root": TOPS, "parquet": parquet}[name].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path = tmp_path / f"damaged.{name}"
    path.write_bytes(content)
    refused(path, "truncated or damaged")


def test_root_named_hdf5_is_still_read(tmp_path):
    path = tmp_path / "tops.h5"
    path.write_bytes(TOPS.read_bytes())
    assert len(read_jets(path, first=5)) == 5
    refused(path, "not an HDF5 file", format="jetnet")
    refused(path, "truncated or damaged", format="parquet")


def test_parquet_without_its_library(parquet, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"needs pyarrow[\s\S]*hepflows\[parquet\]"):
        read_jets(parquet)
    with pytest.raises(MissingDependencyError, match="needs pyarrow"):
        write_jets(read_jets(TOPS, first=2), parquet, force=True)


# --- missing and misshapen parts


def test_a_file_of_showers(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["energy"], file["layer_0"] = np.ones((3, 1)), np.ones((3, 2, 2))
    refused(path, r"data set 'particle_features' is missing[\s\S]*energy, layer_0")
    refused(TOPS.with_name("detector_hits.root"), r"no constituents of jets[\s\S]*hit_x[\s\S]*branches\.part_pt=NAME")


@pytest.mark.parametrize("name", ["part_pt", "part_eta", "part_phi", "jet_pt", "jet_eta", "jet_phi"])
def test_missing_branch(tmp_path, name):
    path = tree_file(tmp_path / "f.root", lambda columns: columns.pop(name))
    refused(path, f"Jets: branch '{name}' is missing[\\s\\S]*branches.{name}=NAME")


def test_features_that_may_be_missing(tmp_path):
    path = tree_file(tmp_path / "f.root", lambda c: [c.pop(name) for name in ("jet_mass", "jet_nall", "part_mass")])
    jets = read_jets(path)
    assert jets.jet_mass_gev is jets.n_constituents_all is None


def test_wrong_names_of_branches():
    refused(TOPS, r"branch 'pt' is missing[\s\S]*to be taken for part_pt", branches={"part_pt": "pt"})
    refused(TOPS, r"unknown entry in branches[\s\S]*part_energy", branches={"part_energy": "e"})
    refused(TOPS, "branch '' is missing|no constituents", branches={"part_pt": ""})


def test_trees(tmp_path):
    refused(TOPS, r"no such tree[\s\S]*Jets", tree="events")
    path = tmp_path / "none.root"
    with uproot.recreate(path) as file:
        file["note"] = "no tree"
    refused(path, "no tree in the file")
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        for name in ("a", "b"):
            file.mktree(name, {"part_pt": "var * float32"})
    refused(path, r"several trees could be meant[\s\S]*--read tree=")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.update(particle_features=a["particle_features"][:, :, 0]),
            r"particle_features: wrong shape[\s\S]*\(N, P, 4\)",
        ),
        (lambda a: a.update(particle_features=a["particle_features"][:, :, :2]), "particle_features: wrong shape"),
        (lambda a: a.update(particle_features=a["particle_features"][:, :0]), "particle_features: wrong shape"),
        (lambda a: a.update(particle_features=np.full((5, 30, 4), b"1")), "particle_features: not a number"),
        (lambda a: a.update(jet_features=a["jet_features"][:4]), r"jet_features: wrong shape[\s\S]*\(5, N\)"),
        (lambda a: a.update(jet_features=a["jet_features"][:, 0]), "jet_features: wrong shape"),
        (lambda a: a.update(jet_features=np.full((5, 4), b"1")), "jet_features: not a number"),
        (
            lambda a: a.update(jet_features=np.ones((5, 7))),
            r"jet features are not known[\s\S]*7 columns[\s\S]*columns=\[",
        ),
        (lambda a: a.update(jet_phi=np.ones((5, 2))), "jet_phi: wrong shape"),
    ],
)
def test_wrong_shape_or_type(tmp_path, change, message):
    refused(jetnet_file(tmp_path / "f.h5", change), message)


def test_wrong_columns(tmp_path):
    path = jetnet_file(tmp_path / "f.h5")
    refused(path, "unknown column 'energy'", columns=("energy", "pt", "eta", "mass"))
    refused(path, "columns of the jet features are not known", columns=("pt", "eta"))
    refused(path, "columns of the jet features are not known", columns=("pt", "pt", "eta", "mass"))
    five = jetnet_file(tmp_path / "five.h5", lambda a: a.update(jet_features=np.c_[a["jet_features"], np.ones(5)]))
    refused(five, r"entry 0, jet_features: unknown type of jet[\s\S]*0 \(g\)[\s\S]*name the columns")


def test_scalars_instead_of_lists(tmp_path):
    path = tree_file(tmp_path / "f.root", lambda c: c.update(part_eta=np.ones(5, dtype=np.float32)))
    refused(path, r"Jets/part_eta: not lists of numbers[\s\S]*one list of numbers for each jet")
    path = tree_file(tmp_path / "g.root", lambda c: c.update(jet_pt=[[1.0, 2.0]] * 5))
    refused(path, "Jets/jet_pt: |jet_pt: not a number")


def test_no_entries(tmp_path):
    refused(
        jetnet_file(tmp_path / "f.h5", lambda a: a.update({k: v[:0] for k, v in a.items()})), "the file holds no jets"
    )
    path = tmp_path / "f.root"
    with uproot.recreate(path) as file:
        file.mktree("Jets", {"part_pt": "var * float32"})
    refused(path, "the file holds no jets")


def test_nothing_selected(tmp_path):
    refused(EMBEDDED, r"no jets are left[\s\S]*8000 entries of 800\S* to 1534\S* GeV, kind t", pt_range_gev=(1.0, 2.0))
    refused(EMBEDDED, "no jets are left", part=(0.0, 0.00001))
    typed = jetnet_file(tmp_path / "f.h5", lambda a: a.update(jet_features=np.c_[np.full(5, 2.0), a["jet_features"]]))
    refused(typed, r"no jets are left[\s\S]*kind t", kind="g")
    bare = jetnet_file(tmp_path / "g.h5", lambda a: a.pop("jet_features"))
    refused(bare, "does not tell the pT", pt_range_gev=(1.0, 2.0))


@pytest.mark.parametrize(
    "settings",
    [
        {"format": "csv"},
        {"part": (0.5, 0.5)},
        {"part": (-0.1, 1.0)},
        {"first": 0},
        {"particles": 0},
        {"particles": 3, "sort": False},
        {"pt_range_gev": (2.0, 1.0)},
        {"units": {"pt": "GeV"}},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(DataError, match=next(iter(settings))):
        read_jets(EMBEDDED, **settings)
    with pytest.raises(DataError, match=next(iter(settings))):
        describe_file(EMBEDDED, **settings)


def test_impossible_chunks():
    with pytest.raises(DataError, match="chunk size must be positive"):
        next(iterate_jets(EMBEDDED, chunk_size=0))


# --- values


def put(name, index, value):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


def shorten(arrays):
    """Jet 2 loses its softest constituent, but not in the number of all constituents."""
    arrays["particle_features"] = arrays["particle_features"].copy()
    arrays["particle_features"][2, 29] = 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("particle_features", (2, 3, 0), np.nan), "entry 2, eta_rel, slot 3: value is not finite"),
        (put("particle_features", (1, 0, 1), np.inf), "entry 1, phi_rel, slot 0: value is not finite"),
        (put("particle_features", (0, 7, 2), -0.1), "entry 0, pt_rel, slot 7: negative pT"),
        (put("particle_features", (0, 7, 3), 0.0), "entry 0, eta_rel, slot 7: an empty slot holds a value"),
        (put("particle_features", (0, 7, 3), 0.5), "entry 0, mask, slot 7: neither 0 nor 1"),
        (put("particle_features", (0, 7, 3), np.nan), "entry 0, mask, slot 7: neither 0 nor 1"),
        (put("particle_features", (3,), 0.0), "entry 3, mask: a jet without constituents"),
        (put("jet_features", (4, 0), 0.0), "entry 4, jet_pt_gev: pT must be positive"),
        (put("jet_features", (4, 0), np.nan), "entry 4, jet_pt_gev: value is not finite"),
        (put("jet_features", (3, 2), -20.0), "entry 3, jet_mass_gev: negative mass"),
        (put("jet_features", (1, 3), 29.0), r"entry 1, n_constituents_all: fewer constituents are stated[\s\S]*30"),
        (put("jet_features", (1, 3), 0.0), "entry 1, n_constituents_all: fewer constituents are stated"),
        (put("jet_features", (1, 3), 30.5), "entry 1, n_constituents_all: not a whole number"),
        (shorten, r"entry 2, n_constituents_all: constituents are missing though slots are empty[\s\S]*exactly 29"),
    ],
)
def test_impossible_values_are_named(tmp_path, change, message):
    refused(jetnet_file(tmp_path / "f.h5", change), message)


def item(name, jet, slot, value):
    return lambda columns: columns[name][jet].__setitem__(slot, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (item("part_pt", 3, 2, -1.0), "entry 3, pt_rel, slot 2: negative pT"),
        (item("part_pt", 3, 2, np.nan), "entry 3, pt_rel, slot 2: value is not finite"),
        (item("part_eta", 1, 0, np.inf), "entry 1, eta_rel, slot 0: value is not finite"),
        (item("part_eta", 1, 0, 40.0), "entry 1, eta_rel, slot 0: impossible difference of angles"),
        (lambda c: c["part_phi"][4].pop(), r"entry 4: part_pt and part_phi have different lengths[\s\S]*29 against 30"),
        (lambda c: [c[f"part_{k}"].__setitem__(2, []) for k in ("pt", "eta", "phi")], "entry 2, mask: a jet without"),
        (put("jet_nall", 1, 3), "entry 1, n_constituents_all: fewer constituents are stated"),
        (lambda c: c.update(npart=np.array([30, 30, 30, 29, 30])), r"entry 3: npart is not the length of the lists"),
        (put("jet_pt", 0, np.nan), "entry 0, jet_pt_gev: value is not finite"),
        (put("jet_pt", 0, 0.0), "entry 0, jet_pt_gev: pT must be positive"),
    ],
)
def test_impossible_values_in_a_tree(tmp_path, change, message):
    refused(tree_file(tmp_path / "f.root", change), message)


class ShortColumns:
    """A damaged table: columns that have fewer entries than it states."""

    path, label, n = Path("f.parquet"), "f.parquet", 5
    names = ("part_ptrel", "part_etarel", "part_phirel", "npart", "jet_pt")

    def __init__(self, short: str) -> None:
        self.short = short

    def column(self, name):
        return np.ones(2 if name == self.short else 5)

    def lists(self, names, start, stop):
        return {name: ak.Array([[1.0]] * (2 if name == self.short else stop - start)) for name in names}


@pytest.mark.parametrize("short", ShortColumns.names)
def test_columns_of_different_lengths(short):
    def read():
        file = jagged_file(ShortColumns(short), "parquet", metadata=None, branches=None, units=None)
        return file.read_block(0, 5)

    with pytest.raises(DataError, match=short):
        read()


def test_infinite_momenta_are_named(tmp_path):
    def cartesian(columns):
        for name, source in (("part_px", "part_pt"), ("part_py", "part_eta"), ("part_pz", "part_phi")):
            columns[name] = columns.pop(source)
        columns["part_py"][1][4] = np.nan

    refused(tree_file(tmp_path / "f.root", cartesian), "entry 1, .*, slot 4: value is not finite")


def test_the_entry_is_the_one_in_the_file(tmp_path):
    path = jetnet_file(tmp_path / "f.h5", put("particle_features", (17, 1, 0), np.nan), n=20)
    refused(path, "entry 17, ", part=(0.5, 1.0))
    refused(path, "entry 17, ", part=(0.5, 1.0), drop_empty=True)
    refused(path, "entry 17, ", particles=5)
    stream = iterate_jets(path, chunk_size=5)
    assert len(list(itertools.islice(stream, 3))) == 3
    with pytest.raises(DataError, match="entry 17, "):
        next(stream)
    assert len(read_jets(path, first=17)) == 17


def test_entries_are_named_after_empty_ones_are_dropped(tmp_path):
    def change(arrays):
        put("particle_features", (3,), 0.0)(arrays)
        put("particle_features", (6, 2, 1), np.nan)(arrays)

    path = jetnet_file(tmp_path / "f.h5", change, n=9)
    refused(path, "entry 6, phi_rel, slot 2", drop_empty=True)


# --- what this package stores beside the arrays


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "stored description is damaged"),
        ("[]", "stored description is damaged"),
        ('{"schema": "hepflows-jets/9"}', r"another version[\s\S]*hepflows-jets/1"),
        ('{"schema": "hepflows-showers/1"}', "another version"),
        ('{"schema": "hepflows-jets/1", "kind": null}', "stored description is damaged"),
        ('{"schema": "hepflows-jets/1", "kind": null, "n_slots": "x", "known": []}', "stored description is damaged"),
    ],
)
def test_damaged_metadata(tmp_path, text, message):
    path = jetnet_file(tmp_path / "f.h5")
    with h5py.File(path, "a") as file:
        file["hepflows"] = text
    refused(path, message)
    path = tree_file(tmp_path / "f.root")
    with uproot.update(path) as file:
        file["hepflows"] = text
    refused(path, message)


def test_fewer_slots_stated_than_there_are(tmp_path):
    path = tree_file(tmp_path / "f.root")
    with uproot.update(path) as file:
        file["hepflows"] = '{"schema": "hepflows-jets/1", "kind": "t", "n_slots": 20, "known": [], "provenance": {}}'
    refused(path, "entry 0: more constituents than the file states slots")


def test_errors_of_units_name_the_entry(tmp_path):
    path = jetnet_file(tmp_path / "f.h5", put("particle_features", (2, 1, 1), 57.0))
    refused(path, "entry 2, phi_rel, slot 1: impossible difference of angles", UnitsError)
