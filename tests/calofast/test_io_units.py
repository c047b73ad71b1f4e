"""Wrong units in shower files are caught, named, and can be overridden."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from calofast.describe import describe_file
from calofast.geometry import calogan
from calofast.reading import embedded_showers_path, iterate_showers, read_showers
from calofast.showers import Showers
from calofast.writing import write_showers
from hepflows.errors import DataError, UnitsError

EPLUS = embedded_showers_path()


def write_challenge(path, n_voxels=368, scale=1.0):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        energy = rng.uniform(1e3, 1e5, (5, 1))
        file["incident_energies"] = energy * scale
        file["showers"] = rng.dirichlet(np.ones(n_voxels), 5) * energy * scale
    return path


def with_units(path, energy, voxels):
    """The CaloGAN layout with energies scaled, and nothing that states units."""
    with h5py.File(EPLUS) as source, h5py.File(path, "w") as file:
        file["energy"] = source["energy"][:50] * energy
        for i in range(3):
            file[f"layer_{i}"] = source[f"layer_{i}"][:50] * voxels
    return path


@pytest.mark.parametrize(
    ("energy", "voxels", "remedy"),
    [
        (1e3, 1.0, {"incident_energy": "MeV"}),
        (1.0, 1e-3, {"voxels": "GeV"}),
        (1.0, 1e3, {"voxels": "keV"}),
        (1e-3, 1.0, {"incident_energy": "TeV"}),
    ],
)
def test_wrong_units_are_named_with_their_remedy(tmp_path, energy, voxels, remedy):
    path = with_units(tmp_path / "f.h5", energy, voxels)
    key, unit = next(iter(remedy.items()))
    with pytest.raises(UnitsError, match=rf"median E_tot / E_inc[\s\S]*pass --read units.{key}={unit} or") as caught:
        read_showers(path)
    assert str(path) in str(caught.value)
    with pytest.raises(UnitsError):
        next(iterate_showers(path))
    with pytest.raises(UnitsError):
        describe_file(path)
    showers = read_showers(path, units=remedy)
    wanted = read_showers(EPLUS, first=50)
    assert np.allclose(showers.voxels_mev, wanted.voxels_mev, rtol=1e-6)
    assert np.allclose(showers.incident_energy_gev, wanted.incident_energy_gev, rtol=1e-6)


def test_calochallenge_in_gev_is_caught_by_the_energies_themselves(tmp_path):
    path = write_challenge(tmp_path / "f.hdf5", scale=1e-3)
    with pytest.raises(UnitsError, match=r"units\.incident_energy=GeV[\s\S]*units\.voxels=GeV"):
        read_showers(path)
    showers = read_showers(path, units={"incident_energy": "GeV", "voxels": "GeV"})
    assert showers.incident_energy_gev.min() > 1.0


def test_calochallenge_with_incident_energies_in_gev(tmp_path):
    path = write_challenge(tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        file["incident_energies"][...] /= 1e3
    with pytest.raises(UnitsError, match=r"pass --read units\.incident_energy=GeV"):
        read_showers(path)
    assert read_showers(path, units={"incident_energy": "GeV"}).incident_energy_gev.min() > 1.0


def test_units_stated_in_the_file_are_believed(tmp_path):
    path = with_units(tmp_path / "f.h5", 1e3, 1.0)
    with h5py.File(path, "a") as file:
        file["energy"].attrs["units"] = "MeV"
    assert np.allclose(read_showers(path).incident_energy_gev, read_showers(EPLUS, first=50).incident_energy_gev)
    assert describe_file(path).units == {"incident_energy": "MeV", "voxels": "MeV"}


def test_unknown_units_are_refused(tmp_path):
    with pytest.raises(UnitsError, match="eV, keV, MeV, GeV or TeV"):
        read_showers(EPLUS, units={"voxels": "erg"})
    with pytest.raises(DataError, match="incident_energy, voxels"):
        read_showers(EPLUS, units={"energy": "MeV"})


@pytest.mark.parametrize("ratio", [0.004, 0.02, 1.0, 2.42, 6.93])
def test_ratios_of_real_calorimeters_pass(tmp_path, ratio):
    energy = np.linspace(1, 100, 20)
    voxels = np.zeros((20, 504))
    voxels[:, 250] = 1e3 * ratio * energy
    showers = Showers(geometry=calogan(), incident_energy_gev=energy, voxels_mev=voxels)
    assert len(read_showers(write_showers(showers, tmp_path / "f.h5"))) == 20


def test_empty_showers_do_not_disturb_the_check(tmp_path):
    voxels = np.zeros((20, 504))
    voxels[0, 0] = 1e3
    showers = Showers(geometry=calogan(), incident_energy_gev=np.full(20, 2.0), voxels_mev=voxels)
    path = write_showers(showers, tmp_path / "f.h5")
    assert len(read_showers(path)) == 20
    assert "95.0% of the showers leave no energy" in describe_file(path).warnings[0]
