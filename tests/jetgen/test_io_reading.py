"""Files of other programs: layouts, names, selections, order, streaming, summaries."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
import vector

from hepflows.errors import DataError
from jetgen.describe import describe_file
from jetgen.detection import is_jet_file
from jetgen.jets import Jets
from jetgen.reading import embedded_jets_path, iterate_jets, read_jets
from jetgen.summary import summary_rows
from jetgen.writing import write_jets

DATA = Path(__file__).parents[1] / "data"
TOPS = DATA / "top_jets.root"


def jetnet_file(path, jets, *, columns=("pt", "eta", "mass", "num_particles"), width=4, attributes=()):
    """A JetNet file as other programs write it."""
    given = {
        "type": np.arange(len(jets)) % 5,
        "pt": jets.jet_pt_gev,
        "eta": jets.jet_eta,
        "phi": jets.jet_phi,
        "mass": jets.jet_mass_gev,
        "num_particles": jets.n_constituents_all,
    }
    with h5py.File(path, "w") as file:
        file["particle_features"] = np.concatenate([jets.particles, jets.mask[..., None]], axis=2)[..., :width]
        if columns:
            file["jet_features"] = np.stack([given[name] for name in columns], axis=1).astype(np.float32)
        file.attrs.update(dict(attributes))
    return path


def tree_file(path, columns, name="Jets"):
    """A ROOT file with one tree; jagged branches have a counter each."""
    types = {
        key: values.dtype if isinstance(values, np.ndarray) else "var * float32" for key, values in columns.items()
    }
    with uproot.recreate(path) as file:
        file.mktree(name, types, counter_name=lambda branch: f"n_{branch}")
        file[name].extend(columns)
    return path


def branches_of_tops(n=20):
    with uproot.open(TOPS) as file:
        tree = file["Jets"].arrays(entry_stop=n)
    return {
        name: tree[name] if name.startswith("part") else np.asarray(tree[name])
        for name in tree.fields
        if name not in ("npart", "part_mass")
    }


# --- JetNet


@pytest.mark.parametrize("n_slots", [30, 150])
def test_jetnet(tmp_path, make_jets, n_slots):
    jets = make_jets(20, n_slots=n_slots)
    again = read_jets(jetnet_file(tmp_path / "f.hdf5", jets))
    assert np.array_equal(again.particles, jets.particles)
    assert np.array_equal(again.mask, jets.mask)
    for name in ("jet_pt_gev", "jet_eta", "jet_mass_gev", "n_constituents_all"):
        assert np.array_equal(getattr(again, name), getattr(jets, name)), name
    assert again.jet_phi is None
    assert again.kind is None
    assert again.provenance == {"file": "f.hdf5"}


@pytest.mark.parametrize(("name", "kind"), [("g", "g"), ("t30", "t"), ("q150", "q"), ("top", None), ("t31", None)])
def test_the_name_of_a_jetnet_file_tells_its_kind(tmp_path, make_jets, name, kind):
    path = jetnet_file(tmp_path / f"{name}.hdf5", make_jets(9))
    assert read_jets(path).kind == kind
    assert read_jets(path, kind="w").kind == "w", "the user knows better"
    notes = describe_file(path).notes
    assert (f"are {kind} jets" in " ".join(notes)) == (kind is not None)


def test_three_columns_and_none(tmp_path, make_jets):
    jets = make_jets(9)
    three = read_jets(jetnet_file(tmp_path / "three.h5", jets, columns=("pt", "eta", "mass")))
    assert np.array_equal(three.jet_mass_gev, jets.jet_mass_gev)
    assert three.n_constituents_all is None
    none = read_jets(jetnet_file(tmp_path / "none.h5", jets, columns=()))
    assert none.known_features == ()
    assert np.array_equal(none.pt_rel, jets.pt_rel)


def test_the_type_in_front(tmp_path, make_jets):
    jets = make_jets(20)
    path = jetnet_file(tmp_path / "f.h5", jets, columns=("type", "pt", "eta", "mass", "num_particles"))
    again = read_jets(path)
    assert again.kind is None
    assert np.array_equal(again.jet_pt_gev, jets.jet_pt_gev)
    quarks = read_jets(path, kind="q")
    assert quarks.kind == "q"
    assert np.array_equal(quarks.jet_pt_gev, jets.jet_pt_gev[1::5])
    summary = describe_file(path)
    assert summary.kinds == {"g": 4, "q": 4, "t": 4, "w": 4, "z": 4}
    assert "several kinds of jets (g, q, t, w, z)" in summary.warnings[0]
    assert "--read kind=" in summary.warnings[0]
    assert {part.kind for part in iterate_jets(path, kind="q", chunk_size=1)} == {"q"}


def test_columns_by_name(tmp_path, make_jets):
    jets = make_jets(9)
    names = ("mass", "phi", "pt", "eta")
    path = jetnet_file(tmp_path / "f.h5", jets, columns=names)
    again = read_jets(path, columns=names)
    for name in ("jet_pt_gev", "jet_eta", "jet_phi", "jet_mass_gev"):
        assert np.array_equal(getattr(again, name), getattr(jets, name)), name
    with h5py.File(path, "a") as file:
        file["jet_features"].attrs["columns"] = ",".join(names)
    assert np.array_equal(read_jets(path).jet_pt_gev, jets.jet_pt_gev)


def test_without_a_mask_slots_with_pt_count(tmp_path, make_jets):
    jets = make_jets(9)
    path = jetnet_file(tmp_path / "f.h5", jets, width=3)
    assert np.array_equal(read_jets(path).mask, jets.mask)
    assert "no mask in the file" in describe_file(path).notes[0]


# --- ROOT


def test_absolute_constituents_are_the_relative_ones_of_the_hdf5_file():
    """Every fifth jet of this file is embedded, too, rounded to 14 bits."""
    root, hdf5 = read_jets(TOPS), read_jets(embedded_jets_path(), first=40)
    assert len(root) == 200
    root = root.select(slice(None, None, 5))
    assert np.array_equal(root.jet_pt_gev, hdf5.jet_pt_gev)
    assert np.array_equal(root.n_constituents_all, hdf5.n_constituents_all)
    assert np.array_equal(root.mask, hdf5.mask)
    # single-precision angles of the tree are a few 1e-7 off
    assert np.abs(root.eta_rel - hdf5.eta_rel).max() < 2**-15 * 0.5 + 3e-7
    assert np.abs(root.phi_rel - hdf5.phi_rel).max() < 2**-15 * 0.5 + 6e-7
    assert np.allclose(root.pt_rel, hdf5.pt_rel, rtol=2**-15 + 1e-6)
    assert np.allclose(root.mass_rel, hdf5.mass_rel, rtol=1e-4)
    assert np.abs(np.diff(root.jet_phi)).max() > 3, "axes all around"


@pytest.mark.parametrize("layout", ["px", "pt"])
def test_momenta_and_angles(tmp_path, layout):
    columns = branches_of_tops()
    if layout == "px":
        momenta = vector.zip({name: columns.pop(f"part_{name}") for name in ("pt", "eta", "phi")})
        columns |= {f"part_{name}": ak.values_astype(getattr(momenta, name), np.float32) for name in ("px", "py", "pz")}
    again = read_jets(tree_file(tmp_path / "f.root", columns))
    assert np.allclose(again.particles, read_jets(TOPS, first=20).particles, atol=2e-6)


def test_the_axis_is_that_of_the_constituents_if_none_is_told(tmp_path):
    columns = {name: values for name, values in branches_of_tops().items() if name.startswith("part")}
    path = tree_file(tmp_path / "f.root", columns)
    jets, told = read_jets(path), read_jets(TOPS, first=20)
    assert np.allclose(jets.mass_rel * jets.jet_pt_gev, told.mass_rel * told.jet_pt_gev, rtol=1e-5)
    assert np.allclose(jets.jet_mass_gev, jets.mass_rel * jets.jet_pt_gev, rtol=1e-6)
    x, y = (jets.pt_rel * np.cos(jets.phi_rel)).sum(axis=1), (jets.pt_rel * np.sin(jets.phi_rel)).sum(axis=1)
    assert np.allclose(np.hypot(x, y), 1.0, rtol=1e-5)
    assert np.allclose(np.arctan2(y, x), 0.0, atol=1e-6)
    assert "sum of their stored constituents" in describe_file(path).notes[0]


def test_other_names(tmp_path):
    columns = branches_of_tops()
    names = {"part_pt": "cand_pt", "jet_mass": "m", "part_eta": "cand_eta", "part_phi": "cand_phi"}
    path = tree_file(tmp_path / "f.root", {names.get(name, name): values for name, values in columns.items()}, "ak4")
    again = read_jets(path, branches=names)
    told = read_jets(TOPS, first=20)
    assert np.array_equal(again.particles, told.particles)
    assert np.array_equal(again.jet_mass_gev, told.jet_mass_gev)
    assert read_jets(path, branches={**names, "jet_nall": ""}).n_constituents_all is None


def test_what_the_user_names_comes_before_own_lists(tmp_path, make_jets):
    jets = make_jets(9)
    path = write_jets(jets, tmp_path / "f.root")
    assert np.array_equal(read_jets(path).particles, jets.particles)
    assert not np.array_equal(read_jets(path, branches={"part_pt": "part_pt"}).particles, jets.particles)


def test_without_a_counter_the_longest_list_counts(tmp_path):
    path = tree_file(tmp_path / "f.root", {**branches_of_tops(), "weight_of_mine": np.ones(20, dtype=np.float32)})
    assert read_jets(path).n_slots == 30
    assert read_jets(path).weights is None
    assert np.array_equal(read_jets(path, branches={"weights": "weight_of_mine"}).weights, np.ones(20))


def test_a_second_tree(tmp_path):
    path = tree_file(tmp_path / "f.root", branches_of_tops())
    with uproot.update(path) as file:
        file.mktree("other", {"run": "i4"})
        file["other"].extend({"run": np.arange(3, dtype=np.int32)})
    assert len(read_jets(path)) == 20
    assert len(read_jets(path, tree="Jets", first=2)) == 2


# --- selections


def test_part_first_and_range():
    jets = read_jets(embedded_jets_path())
    assert np.array_equal(read_jets(embedded_jets_path(), part=(0.8, 1.0)).pt_rel, jets.pt_rel[6400:])
    few = read_jets(embedded_jets_path(), part=(0.5, 1.0), first=7, pt_range_gev=(900.0, 1000.0))
    inside = (jets.jet_pt_gev[4000:] >= 900) & (jets.jet_pt_gev[4000:] <= 1000)
    assert np.array_equal(few.pt_rel, jets.pt_rel[4000:][inside][:7])


def test_parts_cover_a_file_without_overlap():
    parts = [read_jets(TOPS, part=part) for part in ((0.0, 0.33), (0.33, 0.5), (0.5, 1.0))]
    assert np.array_equal(Jets.concatenate(parts).pt_rel, read_jets(TOPS).pt_rel)


@pytest.mark.parametrize("path", [TOPS, embedded_jets_path()], ids=["root", "hdf5"])
@pytest.mark.parametrize("particles", [1, 10, 30])
def test_particles(path, particles):
    jets, fewer = read_jets(path, first=20), read_jets(path, first=20, particles=particles)
    assert np.array_equal(fewer.particles, jets.particles[:, :particles])
    assert np.array_equal(fewer.n_constituents_all, jets.n_constituents_all)


def test_more_particles_than_are_stored(tmp_path, make_jets):
    with pytest.raises(DataError, match=r"entry 100, particles: the softer constituents .* are not stored"):
        read_jets(TOPS, part=(0.5, 1.0), particles=40)
    jets = make_jets(9, n_slots=5, n_constituents_all=None)
    again = read_jets(write_jets(jets, tmp_path / "f.root"), particles=30)
    assert again.n_slots == 30
    assert np.array_equal(again.particles[:, :5], jets.particles)
    assert not again.mask[:, 5:].any()


def test_the_hardest_are_kept_of_an_unordered_file(tmp_path, make_jets):
    jets = make_jets(9, n_slots=6, min_constituents=6)
    order = np.random.default_rng(0).permutation(6)
    path = jetnet_file(tmp_path / "f.h5", jets)
    with h5py.File(path, "a") as file:
        file["particle_features"][...] = file["particle_features"][...][:, order]
    assert np.array_equal(read_jets(path).pt_rel, jets.pt_rel)
    assert np.array_equal(read_jets(path, particles=2).pt_rel, jets.pt_rel[:, :2])
    assert np.array_equal(read_jets(path, sort=False).pt_rel, jets.pt_rel[:, order])
    summary = describe_file(path)
    assert not summary.ordered
    assert "not in falling order of pT" in summary.warnings[0]


def test_empty_jets_can_be_left_out(tmp_path, make_jets):
    jets = make_jets(9)
    path = jetnet_file(tmp_path / "f.h5", jets)
    with h5py.File(path, "a") as file:
        file["particle_features"][4] = 0.0
        file["jet_features"][4, 3] = 0.0
    with pytest.raises(DataError, match=r"entry 4, mask: a jet without constituents[\s\S]*--read drop_empty=true"):
        read_jets(path)
    assert np.array_equal(read_jets(path, drop_empty=True).jet_pt_gev, np.delete(jets.jet_pt_gev, 4))
    assert describe_file(path, drop_empty=True).n_sampled == 8
    with pytest.raises(DataError, match="none of the selected jets has constituents"):
        read_jets(path, drop_empty=True, pt_range_gev=(jets.jet_pt_gev[4], jets.jet_pt_gev[4]))


@pytest.mark.parametrize("chunk_size", [1, 7, 20, 1000, None])
@pytest.mark.parametrize("suffix", [".h5", ".root", ".parquet"])
def test_chunks_are_the_whole(tmp_path, suffix, chunk_size):
    jets = read_jets(TOPS, part=(0.1, 0.5), pt_range_gev=(900.0, 1000.0))
    path = write_jets(read_jets(TOPS), tmp_path / f"f{suffix}")
    chunks = list(iterate_jets(path, part=(0.1, 0.5), pt_range_gev=(900.0, 1000.0), chunk_size=chunk_size))
    assert np.array_equal(Jets.concatenate(chunks).particles, jets.particles)
    assert len(chunks) == (1 if chunk_size is None else -(-len(jets) // chunk_size))


def test_blocks_of_a_large_file_are_put_together(monkeypatch):
    monkeypatch.setattr("jetgen.reading._BLOCK_BYTES", 32 * 30 * 7)
    for path in (TOPS, embedded_jets_path()):
        pieces = read_jets(path, part=(0.0, 0.02))
        monkeypatch.undo()
        assert np.array_equal(pieces.particles, read_jets(path, part=(0.0, 0.02)).particles)
        monkeypatch.setattr("jetgen.reading._BLOCK_BYTES", 32 * 30 * 7)


# --- summaries and detection


def test_description():
    summary = describe_file(TOPS)
    assert summary.format == "root"
    assert (summary.n_entries, summary.n_jets, summary.n_sampled) == (200, 200, 200)
    jets = read_jets(TOPS)
    assert summary.jet_pt_gev.median == pytest.approx(np.median(jets.jet_pt_gev))
    assert summary.mass_rel.mean == pytest.approx(jets.mass_rel.mean())
    assert summary.multiplicity.high == 30
    assert summary.full == pytest.approx((jets.multiplicity == 30).mean())
    assert summary.ordered
    assert summary.units == {"jet_pt": "GeV", "jet_mass": "GeV", "part_pt": "GeV"}
    rows = dict(summary_rows(summary))
    assert rows["jets"] == "200 of 200 entries"
    assert rows["kind"] == "not told"
    assert "GeV" in rows["jet pT"]
    assert not summary.warnings
    assert describe_file(TOPS, first=3).n_jets == 3


def test_description_of_bare_jets(tmp_path, make_jets):
    path = write_jets(make_jets(40, features=False, weights=np.ones(40)), tmp_path / "f.h5")
    summary = describe_file(path)
    rows = dict(summary_rows(summary))
    assert rows["jet pT"] == rows["of the whole jet"] == "not told"
    assert rows["units assumed"] == "none needed"
    assert rows["weights"] == "yes"
    assert any("have a single constituent" in warning for warning in summary.warnings)


def test_detection(tmp_path, make_jets):
    assert is_jet_file(TOPS)
    assert is_jet_file(embedded_jets_path())
    assert is_jet_file(write_jets(make_jets(2, features=False), tmp_path / "f.root"))
    assert is_jet_file(write_jets(make_jets(2), tmp_path / "f.parquet"))
    assert not is_jet_file(DATA / "eplus_cells.root")
    assert not is_jet_file(DATA / "detector_hits.root")
    for content in (b"", b"root and more", b"\x89HDF\r\n\x1a\n"):
        (tmp_path / "f").write_bytes(content)
        assert not is_jet_file(tmp_path / "f")


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed_size_list", "integers", "sliced"])
def test_parquet_lists_of_any_kind(tmp_path, kind):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [[3.0, 2.0], [5.0, 1.0], [4.0, 2.0]]
    types = {
        "large_list": pa.large_list(pa.float32()),
        "fixed_size_list": pa.list_(pa.float64(), 2),
        "integers": pa.list_(pa.int16()),
    }
    columns = {name: pa.array(rows, type=types.get(kind, pa.list_(pa.float64()))) for name in ("part_px", "part_py")}
    table = pa.table(columns | {"part_pz": columns["part_px"]})
    parquet.write_table(table.slice(1) if kind == "sliced" else table, tmp_path / "f.parquet", row_group_size=2)
    jets = read_jets(tmp_path / "f.parquet")
    expected = np.hypot(*[np.sum(rows, axis=1)] * 2)[1 if kind == "sliced" else 0 :]
    np.testing.assert_allclose(jets.jet_pt_gev, expected, rtol=1e-6)


@pytest.mark.parametrize("row", [None, [1.0, None]])
def test_parquet_lists_with_nulls_are_refused(tmp_path, row):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: pa.array([[3.0, 2.0], [3.0, 2.0]]) for name in ("part_px", "part_py")}
    parquet.write_table(pa.table(columns | {"part_pz": pa.array([[3.0, 2.0], row])}), tmp_path / "f.parquet")
    with pytest.raises(DataError, match=r"part_pz: missing values"):
        read_jets(tmp_path / "f.parquet")


def test_chunks_of_empty_jets_are_passed_over(make_jets, tmp_path) -> None:
    write_jets(make_jets(8), tmp_path / "jets.h5")
    with h5py.File(tmp_path / "jets.h5", "a") as file:
        file["particle_features"][2:4] = 0
    chunks = list(iterate_jets(tmp_path / "jets.h5", drop_empty=True, chunk_size=2))
    assert [len(chunk) for chunk in chunks] == [2, 2, 2]
    assert len(read_jets(tmp_path / "jets.h5", drop_empty=True)) == 6
