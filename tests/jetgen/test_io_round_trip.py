"""What is written is read back bit by bit, in every format."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows.errors import DataError
from jetgen.jets import Jets
from jetgen.reading import embedded_jets_path, iterate_jets, read_jets
from jetgen.writing import write_jets

FEATURES = ("jet_pt_gev", "jet_eta", "jet_phi", "jet_mass_gev", "n_constituents_all", "weights", "mass_condition")
SUFFIXES = [".h5", ".hdf5", ".root", ".parquet"]
TOPS = Path(__file__).parents[1] / "data" / "top_jets.root"
# Random jets have no plausible masses: stating all units switches the checks off.
STATED = {"jet_pt": "GeV", "jet_mass": "GeV", "part_pt": "GeV"}


def assert_equal(again, jets):
    for name in ("eta_rel", "phi_rel", "pt_rel", "mask", *FEATURES):
        first, second = getattr(again, name), getattr(jets, name)
        assert (first is None) == (second is None), name
        if first is not None:
            assert first.dtype == second.dtype
            assert np.array_equal(first, second), name
    assert again.kind == jets.kind
    first, second = ({**one.provenance, "file": ""} for one in (again, jets))
    assert first == second


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 6),
    n_slots=st.sampled_from([1, 2, 7, 150]),
    unknown=st.sets(st.sampled_from(FEATURES)),
    kind=st.sampled_from([None, "g", "my own jets"]),
    note=st.text(max_size=10),
)
def test_round_trip_is_exact(make_jets, suffix, seed, n, n_slots, unknown, kind, note):
    normal = np.random.default_rng(seed).normal(size=n)
    jets = make_jets(
        n, n_slots=n_slots, seed=seed, weights=normal, mass_condition=abs(normal), kind=kind,
        provenance={"program": "test", "note": note},
    )  # fmt: skip
    jets = dataclasses.replace(jets, **dict.fromkeys(unknown))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"f{suffix}"
        assert write_jets(jets, path) == path
        assert_equal(read_jets(path, units=STATED), jets)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unordered_constituents_come_back_as_they_were(tmp_path, make_jets, suffix):
    jets = make_jets(5, n_slots=4, min_constituents=4)
    mixed = dataclasses.replace(
        jets, **{name: getattr(jets, name)[:, ::-1] for name in ("eta_rel", "phi_rel", "pt_rel", "mask")}
    )
    path = write_jets(mixed, tmp_path / f"f{suffix}")
    assert_equal(read_jets(path, sort=False), mixed)
    assert_equal(read_jets(path), jets)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_embedded_jets_survive_all_formats(tmp_path, suffix):
    jets = read_jets(embedded_jets_path(), first=300)
    assert_equal(read_jets(write_jets(jets, tmp_path / f"f{suffix}")), jets)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chunks_written_one_by_one(tmp_path, suffix):
    jets = read_jets(embedded_jets_path(), first=100)
    chunks = (jets.select(slice(start, start + 30)) for start in range(-30, 120, 30))  # empty ones at both ends
    path = write_jets(chunks, tmp_path / f"f{suffix}")
    assert_equal(read_jets(path), jets)
    parts = list(iterate_jets(path, chunk_size=17))
    assert [len(part) for part in parts] == [17] * 5 + [15]
    assert_equal(Jets.concatenate(parts), jets)


def test_from_root_to_root(tmp_path):
    """Absolute four-momenta, through relative ones, to the same absolute four-momenta."""
    jets = read_jets(TOPS)
    path = write_jets(jets, tmp_path / "f.root")
    with uproot.open(TOPS) as first, uproot.open(path) as second:
        one, two = first["Jets"].arrays(), second["Jets"].arrays()
    assert set(one.fields) < set(two.fields)
    assert one.npart.to_list() == two.npart.to_list()
    assert one.jet_nall.to_list() == two.jet_nall.to_list()
    for name, slack in (("pt", 3e-4), ("eta", 3e-7), ("phi", 5e-7), ("mass", 0.0)):
        first, second = (ak.to_numpy(ak.flatten(tree[f"part_{name}"])) for tree in (one, two))
        difference = np.abs(first - second)
        if name == "phi":
            difference = np.minimum(difference, 2 * np.pi - difference)
        assert difference.max() <= slack, name
    # without this package's own lists the file says the same
    again = read_jets(path, branches={"part_ptrel": "", "part_etarel": "", "part_phirel": ""})
    assert np.allclose(again.particles, jets.particles, rtol=0, atol=1e-6)
    assert np.allclose(again.mass_rel, jets.mass_rel, rtol=1e-5)


def test_a_jetnet_file_has_the_standard_layout(tmp_path, make_jets):
    jets = make_jets(6, n_slots=30)
    with h5py.File(write_jets(jets, tmp_path / "f.hdf5")) as file:
        particles, features = file["particle_features"][...], file["jet_features"][...]
        assert particles.dtype == features.dtype == np.float32
    assert particles.shape == (6, 30, 4)
    assert np.array_equal(particles[..., 3], jets.mask)
    assert np.array_equal(features[:, 0], jets.jet_pt_gev)
    assert np.array_equal(features[:, 3], jets.n_constituents_all)


def test_unknown_features_are_nan_for_other_programs(tmp_path, make_jets):
    jets = make_jets(6, features=False)
    with h5py.File(write_jets(jets, tmp_path / "f.hdf5"), "a") as file:
        features = file["jet_features"][...]
        del file["hepflows"]
    assert np.isnan(features[:, :3]).all()
    assert np.array_equal(features[:, 3], jets.multiplicity)
    again = read_jets(tmp_path / "f.hdf5")
    assert again.jet_pt_gev is again.jet_eta is again.jet_mass_gev is None


def test_without_an_axis_a_tree_has_relative_lists_only(tmp_path, make_jets):
    for jets in (make_jets(4, features=False), make_jets(4, jet_eta=None)):
        with uproot.open(write_jets(jets, tmp_path / "f.root", force=True)) as file:
            names = file["Jets"].keys()
        assert "part_ptrel" in names
        assert "part_pt" not in names
    jets = make_jets(4, jet_phi=None)
    with uproot.open(write_jets(jets, tmp_path / "f.root", force=True)) as file:
        tree = file["Jets"].arrays(["jet_phi", "part_phi", "part_phirel"])
    assert np.all(tree.jet_phi == 0)
    assert tree.part_phi.to_list() == tree.part_phirel.to_list()


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("f.txt", None, r"the suffix tells no format[\s\S]*\.parquet"),
        ("f", None, "the suffix tells no format"),
        ("f.h5", "csv", r"unknown file format[\s\S]*jetnet, root, parquet"),
    ],
)
def test_unknown_formats_are_refused(tmp_path, make_jets, name, layout, message):
    with pytest.raises(DataError, match=message):
        write_jets(make_jets(2), tmp_path / name, format=layout)
    assert list(tmp_path.iterdir()) == []


def test_the_format_may_be_named(tmp_path, make_jets):
    jets = make_jets(2, jet_mass_gev=None)
    assert_equal(read_jets(write_jets(jets, tmp_path / "f.dat", format="root"), format="root"), jets)


def test_chunks_of_different_kinds_are_refused(tmp_path, make_jets):
    jets = make_jets(3)
    for other, message in (
        (make_jets(3, kind="g"), "chunk 1: chunks of different kinds"),
        (make_jets(3, n_slots=4), "chunk 1: jets with different numbers of slots"),
        (make_jets(3, jet_eta=None), "chunk 1: jet_eta is given for some jets only"),
    ):
        with pytest.raises(DataError, match=message):
            write_jets([jets, other], tmp_path / "f.h5")
    with pytest.raises(DataError, match="no jets to write"):
        write_jets([], tmp_path / "f.h5")
    with pytest.raises(DataError, match="no jets to write"):
        write_jets(jets.select([]), tmp_path / "f.h5")
    assert list(tmp_path.iterdir()) == []
