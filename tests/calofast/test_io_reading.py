"""Selection, streaming, units and files written by other programs."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from calofast.binning_xml import write_binning_xml
from calofast.describe import describe_file
from calofast.geometry import Geometry, calochallenge, calogan, calogan_hits
from calofast.layer import Layer
from calofast.reading import embedded_showers_path, iterate_showers, read_showers
from calofast.showers import Showers
from hepflows.errors import DataError, GeometryError

DATA = Path(__file__).parents[1] / "data"
HITS = DATA / "detector_hits.root"  # written by Geant4's own analysis manager
CELLS = DATA / "eplus_cells.root"
EPLUS = embedded_showers_path()


@pytest.fixture(scope="module")
def eplus():
    return read_showers(EPLUS)


@pytest.fixture(scope="module")
def hit_arrays():
    with uproot.open(HITS) as file:
        return file["events"].arrays()


def test_embedded_showers_are_those_of_the_readme(eplus):
    assert len(eplus) == 4000
    assert eplus.geometry == calogan()
    assert eplus.pdg == -11
    assert eplus.provenance["geant4"] == "11.4.0"
    assert eplus.overflow_mev is not None
    assert EPLUS.stat().st_size < 5e6
    energy = eplus.incident_energy_gev
    assert 1.0 <= energy.min() < 1.1
    assert 99.9 < energy.max() <= 100.0
    ratio = eplus.e_tot_mev / (1e3 * energy)
    assert abs(ratio.mean() - 0.9965) < 1e-3
    assert 0.0008 < ratio.std() < 0.0018
    window = eplus.select((energy > 40) & (energy < 60))
    shares = (window.layer_energies_mev / window.e_tot_mev[:, None]).mean(axis=0)
    assert np.allclose(shares, [0.170, 0.827, 0.0016], rtol=0.02, atol=2e-4)


def test_arrays_are_contiguous_single_precision(eplus):
    assert eplus.voxels_mev.flags.c_contiguous
    assert eplus.voxels_mev.dtype == np.float32


def test_parts_by_position_make_up_the_whole(eplus):
    first, last = read_showers(EPLUS, part=(0.0, 0.8)), read_showers(EPLUS, part=(0.8, 1.0))
    assert (len(first), len(last)) == (3200, 800)
    assert np.array_equal(np.concatenate([first.voxels_mev, last.voxels_mev]), eplus.voxels_mev)


def test_selections_combine(eplus):
    chosen = read_showers(EPLUS, energy_range_gev=(20.0, 30.0), part=(0.25, 0.75), first=100)
    energy = eplus.incident_energy_gev
    inside = np.flatnonzero((energy >= 20) & (energy <= 30) & (np.arange(4000) >= 1000) & (np.arange(4000) < 3000))
    assert np.array_equal(chosen.voxels_mev, eplus.voxels_mev[inside[:100]])
    assert np.array_equal(chosen.overflow_mev, eplus.overflow_mev[inside[:100]])


@pytest.mark.parametrize("chunk_size", [None, 1, 300, 10_000])
@pytest.mark.parametrize("path", [EPLUS, CELLS, HITS], ids=lambda path: path.name)
def test_chunks_concatenate_to_the_whole(path, chunk_size):
    n = 3 if chunk_size == 1 else 700
    settings = {"energy_range_gev": (2.0, 90.0), "first": n}
    chunks = list(iterate_showers(path, chunk_size=chunk_size, **settings))
    assert all(len(chunk) <= (chunk_size or n) for chunk in chunks)
    whole = read_showers(path, **settings)
    again = Showers.concatenate(chunks)
    assert np.array_equal(again.voxels_mev, whole.voxels_mev)
    assert np.array_equal(again.incident_energy_gev, whole.incident_energy_gev)


def test_only_the_needed_blocks_are_read(monkeypatch):
    from calofast import io_hdf5

    seen = []
    rows = io_hdf5.Hdf5Content.rows

    def spy(self, name, start, stop):
        seen.append((start, stop))
        return rows(self, name, start, stop)

    monkeypatch.setattr(io_hdf5.Hdf5Content, "rows", spy)
    read_showers(EPLUS, part=(0.5, 1.0), first=10)
    assert set(seen) == {(2000, 2010)}
    seen.clear()
    stream = iterate_showers(EPLUS, chunk_size=5)
    next(stream)
    stream.close()
    assert set(seen) == {(0, 5)}


# --- ROOT files of other programs


def test_flat_cells_of_the_calogan_tree():
    showers = read_showers(CELLS)
    with uproot.open(CELLS) as file:
        tree = file["fancy_tree"]
        cell = tree["cell_300"].array(library="np")
        overflow = tree["cell_505"].array(library="np")
        energy = tree["TotalEnergy"].array(library="np")
    assert len(showers) == 2000
    assert showers.geometry == calogan()
    assert np.array_equal(showers.voxels_mev[:, 300], cell.astype(np.float32))
    assert np.array_equal(showers.overflow_mev[:, 1], overflow.astype(np.float32))
    assert np.array_equal(showers.incident_energy_gev, energy.astype(np.float32))
    ratio = showers.e_tot_mev / (1e3 * showers.incident_energy_gev)
    assert abs(np.median(ratio) - 0.9967) < 5e-4


def test_geant4_hits_keep_their_energy_layer_by_layer(hit_arrays):
    showers = read_showers(HITS)
    assert showers.geometry == calogan_hits()
    assert len(showers) == 1000
    binned = showers.layer_energies_mev + showers.overflow_mev
    for layer in range(3):
        energy = ak.values_astype(hit_arrays.hit_energy, np.float64)
        sums = ak.to_numpy(ak.sum(energy[hit_arrays.hit_layer == layer], axis=1))
        assert np.allclose(binned[:, layer], sums, rtol=1e-6, atol=0.0)
    assert showers.overflow_mev.sum() < 0.005 * showers.voxels_mev.sum()


def test_geant4_hits_give_the_same_layers_from_z(hit_arrays, tmp_path):
    path = tmp_path / "without_layer.root"
    with uproot.recreate(path) as file:
        names = ("hit_x", "hit_y", "hit_z", "hit_energy")
        file.mktree(
            "events",
            {"incident_energy": "f4", **dict.fromkeys(names, "var * float32")},
            counter_name=lambda n: f"n_{n}",
        )
        file["events"].extend(
            {"incident_energy": hit_arrays.incident_energy[:200]} | {name: hit_arrays[name][:200] for name in names}
        )
    showers = read_showers(path)
    wanted = read_showers(HITS, first=200)
    assert np.array_equal(showers.voxels_mev, wanted.voxels_mev)
    assert np.array_equal(showers.overflow_mev, wanted.overflow_mev)


def test_geant4_hits_by_particle():
    everything = read_showers(HITS)
    assert everything.pdg is None
    codes = everything.conditions["pdg"]
    for code, n in ((-11, 400), (22, 400), (211, 200)):
        showers = read_showers(HITS, pdg=code)
        assert (len(showers), showers.pdg) == (n, code)
        assert "pdg" not in showers.conditions
        assert np.array_equal(showers.voxels_mev, everything.voxels_mev[codes == code])
    ratio = everything.e_tot_mev / (1e3 * everything.incident_energy_gev)
    # argon only: the sampling fraction; hadrons leak
    assert 0.155 < np.median(ratio[codes == -11]) < 0.165
    assert 0.155 < np.median(ratio[codes == 22]) < 0.165
    assert np.median(ratio[codes == 211]) < 0.1


def test_hits_need_a_geometry_unless_they_are_those_of_the_toy_calorimeter(tmp_path, hit_arrays):
    path = tmp_path / "shifted.root"
    with uproot.recreate(path) as file:
        file.mktree(
            "events",
            {
                "incident_energy": "f4",
                **dict.fromkeys(("hit_x", "hit_y", "hit_energy"), "var * float32"),
                "hit_layer": "var * int32",
            },
            counter_name=lambda n: f"n_{n}",
        )
        part = hit_arrays[:20]
        file["events"].extend(
            {"incident_energy": part.incident_energy, "hit_x": part.hit_x + 1, "hit_y": part.hit_y}
            | {"hit_energy": part.hit_energy, "hit_layer": part.hit_layer}
        )
    with pytest.raises(GeometryError, match=r"pass the geometry of this detector"):
        read_showers(path)
    tower = tuple(
        Layer(name=f"layer_{i}", kind="cylindrical", r_edges_mm=(0, 20, 60, 200), n_alpha=8) for i in range(3)
    )
    assert read_showers(path, geometry=Geometry("towers", tower)).geometry.n_voxels == 72
    tiny = tuple(Layer(name=f"l{i}", kind="cylindrical", r_edges_mm=(0, 0.5), n_alpha=1) for i in range(3))
    with pytest.raises(GeometryError, match="most of the energy lies outside"):
        read_showers(path, geometry=Geometry("tiny", tiny))


# --- CaloChallenge and conditions


def write_challenge(path, n_voxels=368, scale=1.0):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        energy = rng.uniform(1e3, 1e5, (5, 1))
        file["incident_energies"] = energy * scale
        file["showers"] = rng.dirichlet(np.ones(n_voxels), 5) * energy * scale
    return path


@pytest.mark.parametrize(
    ("name", "n_voxels"), [("photons", 368), ("pions", 533), ("dataset_2", 6480), ("dataset_3", 40500)]
)
def test_calochallenge_geometry_by_number_of_voxels(tmp_path, name, n_voxels):
    showers = read_showers(write_challenge(tmp_path / "f.hdf5", n_voxels))
    assert showers.geometry == calochallenge(name)
    assert np.allclose(showers.e_tot_mev, 1e3 * showers.incident_energy_gev, rtol=1e-4)


def test_calochallenge_geometry_by_binning_file(tmp_path):
    path = write_challenge(tmp_path / "f.hdf5", 533)
    binning = write_binning_xml(calochallenge("pions"), tmp_path / "b.xml")
    assert read_showers(path, binning_xml=binning).geometry == calochallenge("pions")
    wrong = write_binning_xml(calochallenge("photons"), tmp_path / "c.xml")
    with pytest.raises(GeometryError, match=r"geometry does not match[\s\S]*368 voxels[\s\S]*533"):
        read_showers(path, binning_xml=wrong)
    with pytest.raises(DataError, match="not both"):
        read_showers(path, binning_xml=binning, geometry=calochallenge("pions"))


def test_conditions_by_name_unit_or_request(tmp_path):
    path = write_challenge(tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        for name, unit in (
            ("theta", "deg"),
            ("phi", None),
            ("x_cm", None),
            ("seconds", None),
            ("charge", "e"),
        ):
            file[name] = np.arange(5.0)
            if unit:
                file[name].attrs["unit"] = unit
    assert dict(read_showers(path).condition_units) == {"theta_deg": "deg", "phi_rad": "rad", "x_cm": "cm"}
    chosen = read_showers(path, conditions=["charge", "seconds", "theta"])
    assert dict(chosen.condition_units) == {"charge_e": "e", "seconds": "", "theta_deg": "deg"}
    assert read_showers(path, conditions=[]).conditions == {}
    with pytest.raises(DataError, match="momentum"):
        read_showers(path, conditions=["momentum"])


# --- summary


def test_describe_file():
    summary = describe_file(HITS)
    assert (summary.format, summary.n_showers, summary.n_entries) == ("root-hits", 1000, 1000)
    assert summary.pdg == {-11: 400, 22: 400, 211: 200}
    assert summary.units == {"incident_energy": "GeV", "voxels": "MeV"}
    assert 1.0 < summary.energy_range_gev[0] < summary.energy_range_gev[1] < 20.0
    assert "several particles" in summary.warnings[0]
    assert np.isclose(sum(summary.layer_fractions), 1.0)
    electrons = describe_file(EPLUS, energy_range_gev=(50.0, 60.0))
    assert electrons.n_showers == len(read_showers(EPLUS, energy_range_gev=(50.0, 60.0)))
    assert abs(electrons.e_tot_ratio_median - 0.9965) < 1e-3
    assert electrons.warnings == ()
