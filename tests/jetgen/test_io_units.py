"""MeV for GeV, and degrees for radians, are found out before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from hepflows.errors import DataError, UnitsError
from jetgen.describe import describe_file
from jetgen.reading import embedded_jets_path, iterate_jets, read_jets
from jetgen.writing import write_jets

TOPS = Path(__file__).parents[1] / "data" / "top_jets.root"


def tree(path, *, n=20, **factors):
    """The first jets with some branches multiplied."""
    with uproot.open(TOPS) as file:
        source = file["Jets"].arrays(entry_stop=n)
    scalars = ("jet_pt", "jet_eta", "jet_phi", "jet_mass", "jet_nall")
    columns = {name: np.asarray(source[name]) for name in scalars}
    part = {name: source[f"part_{name}"] * np.float32(factors.get(f"part_{name}", 1)) for name in ("pt", "eta", "phi")}
    columns = {
        name: (values * factors[name]).astype("f4") if name in factors else values for name, values in columns.items()
    }
    with uproot.recreate(path) as file:
        types = {name: values.dtype for name, values in columns.items()}
        file.mktree("Jets", types | {"part": "var * {pt: float32, eta: float32, phi: float32}"})
        file["Jets"].extend(columns | {"part": ak.zip(part)})
    return path


def hdf5(path, column, factor, name="jet_features"):
    write_jets(read_jets(embedded_jets_path(), first=50), path)
    with h5py.File(path, "a") as file:
        del file["hepflows"]
        values = file[name][...]
        values[..., column] *= factor
        file[name][...] = values
    return path


def assert_stated(path, **units):
    jets, told = read_jets(path, units=units), read_jets(TOPS, first=20)
    assert np.allclose(jets.particles, told.particles, atol=1e-6)
    assert np.allclose(jets.jet_pt_gev, told.jet_pt_gev, rtol=1e-6)
    assert np.allclose(jets.jet_mass_gev, told.jet_mass_gev, rtol=1e-6)


def test_a_whole_tree_in_mev(tmp_path):
    path = tree(tmp_path / "f.root", jet_pt=1e3, jet_mass=1e3, part_pt=1e3)
    for read in (read_jets, describe_file, lambda path: next(iterate_jets(path))):
        with pytest.raises(
            UnitsError, match=r"pT of the jets cannot be in the unit assumed[\s\S]*\[3, 10000\] GeV"
        ) as caught:
            read(path)
        for key in ("jet_pt", "jet_mass", "part_pt"):
            assert f"--read units.{key}=MeV" in str(caught.value)
    assert_stated(path, jet_pt="MeV", jet_mass="MeV", part_pt="MeV")


@pytest.mark.parametrize(
    ("factors", "message", "unit"),
    [
        ({"part_pt": 1e3}, r"constituents and jets do not fit[\s\S]*units\.part_pt=MeV", {"part_pt": "MeV"}),
        ({"part_pt": 1e-3}, r"constituents and jets do not fit[\s\S]*units\.part_pt=TeV", {"part_pt": "TeV"}),
        ({"jet_pt": 1e3}, r"constituents and jets do not fit[\s\S]*units\.jet_pt=MeV", {"jet_pt": "MeV"}),
        ({"jet_mass": 1e3}, r"mass and pT of the jets do not fit[\s\S]*units\.jet_mass=MeV", {"jet_mass": "MeV"}),
        ({"jet_mass": 1e-3}, r"mass and pT of the jets do not fit[\s\S]*units\.jet_mass=TeV", {"jet_mass": "TeV"}),
    ],
)
def test_one_energy_of_a_tree(tmp_path, factors, message, unit):
    path = tree(tmp_path / "f.root", **factors)
    with pytest.raises(UnitsError, match=message):
        read_jets(path)
    assert_stated(path, **unit)
    assert describe_file(path, units=unit).units == {"jet_pt": "GeV", "jet_mass": "GeV", "part_pt": "GeV"} | unit


def test_jetnet_in_mev(tmp_path):
    path = hdf5(tmp_path / "f.h5", [0, 2], 1e3)
    with pytest.raises(UnitsError, match=r"units\.jet_pt=MeV and --read units\.jet_mass=MeV") as caught:
        read_jets(path)
    assert "part_pt" not in str(caught.value)
    jets = read_jets(path, units={"jet_pt": "MeV", "jet_mass": "MeV"})
    assert np.allclose(jets.jet_pt_gev, read_jets(embedded_jets_path(), first=50).jet_pt_gev)


def test_absolute_pt_in_a_jetnet_file(tmp_path):
    path = hdf5(tmp_path / "f.h5", 2, 950.0, "particle_features")
    with pytest.raises(UnitsError, match=r"constituent's pT over that of its jet: divide by it"):
        read_jets(path)


def test_degrees(tmp_path):
    path = hdf5(tmp_path / "f.h5", 1, 180 / np.pi, "particle_features")
    with pytest.raises(UnitsError, match=r"entry 0, phi_rel, slot \d+: impossible difference of angles[\s\S]*radians"):
        read_jets(path)
    with pytest.raises(UnitsError, match="jet_phi: impossible azimuth"):
        read_jets(tree(tmp_path / "f.root", jet_phi=180 / np.pi, part_phi=180 / np.pi))


def test_what_is_stated_is_believed(tmp_path, make_jets):
    jets = replace(make_jets(9), jet_pt_gev=np.full(9, 5e4), jet_mass_gev=np.full(9, 1e3))
    path = write_jets(jets, tmp_path / "f.h5")
    with pytest.raises(UnitsError, match=r"if they are right, state the units assumed"):
        read_jets(path)
    assert read_jets(path, units={"jet_pt": "GeV"}).jet_pt_gev[0] == 5e4


@pytest.mark.parametrize("pt", [5.0, 25.0, 1000.0, 8000.0])
@pytest.mark.parametrize("ratio", [0.003, 0.1, 0.8])
def test_real_jets_pass(tmp_path, make_jets, pt, ratio):
    jets = replace(make_jets(9), jet_pt_gev=np.full(9, pt), jet_mass_gev=np.full(9, ratio * pt))
    assert len(read_jets(write_jets(jets, tmp_path / "f.root"))) == 9


def test_few_constituents_pass(tmp_path):
    for n in (1, 2, 3):
        jets = read_jets(embedded_jets_path(), first=100, particles=n)
        again = read_jets(write_jets(jets, tmp_path / f"{n}.h5"))
        assert np.array_equal(again.particles, jets.particles)


def test_jets_without_mass_do_not_disturb_the_check(tmp_path, make_jets):
    jets = replace(make_jets(9), jet_mass_gev=np.zeros(9))
    assert len(read_jets(write_jets(jets, tmp_path / "f.h5"))) == 9


def test_unknown_units_are_refused():
    with pytest.raises(UnitsError, match=r"jet_pt: unknown unit of energy[\s\S]*keV, MeV, GeV or TeV"):
        read_jets(TOPS, units={"jet_pt": "erg"})
    with pytest.raises(UnitsError, match="part_pt: unknown unit of energy"):
        read_jets(TOPS, units={"part_pt": ""})
    with pytest.raises(DataError, match="jet_pt, jet_mass, part_pt"):
        read_jets(TOPS, units={"energy": "GeV"})
