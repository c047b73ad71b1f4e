from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from calofast.geometry import calochallenge, calogan
from calofast.showers import Showers, unit_of
from hepflows.errors import DataError, GeometryError


def make(n=6, geometry=None, **extra):
    geometry = geometry or calogan()
    rng = np.random.default_rng(n)
    fields = {
        "geometry": geometry,
        "incident_energy_gev": rng.uniform(1, 100, n),
        "voxels_mev": rng.exponential(10, (n, geometry.n_voxels)),
        "overflow_mev": rng.exponential(1, (n, geometry.n_layers)),
        "conditions": {"theta_rad": rng.normal(size=n), "eta": rng.normal(size=n)},
        "weights": rng.normal(size=n),
        "pdg": 11,
        "provenance": {"made": "here"},
    }
    return Showers(**(fields | extra))


def test_arrays_are_single_precision_and_contiguous():
    geometry = calogan()
    showers = make(voxels_mev=np.asfortranarray(np.ones((6, geometry.n_voxels))))
    assert showers.voxels_mev.dtype == np.float32
    assert showers.voxels_mev.flags.c_contiguous
    assert showers.incident_energy_gev.dtype == showers.conditions["eta"].dtype == np.float32
    assert len(showers) == 6


def test_sums_are_in_double_precision_and_without_overflow():
    showers = make()
    exact = showers.voxels_mev.astype(np.float64)
    assert np.allclose(showers.e_tot_mev, exact.sum(axis=1), rtol=1e-14)
    by_layer = showers.layer_energies_mev
    assert by_layer.shape == (6, 3)
    assert np.allclose(by_layer.sum(axis=1), showers.e_tot_mev, rtol=1e-13)
    assert np.allclose(by_layer[:, 1], exact[:, 288:432].sum(axis=1), rtol=1e-14)


def test_units_of_conditions_follow_their_names():
    showers = make(condition_units={"eta": "1"})
    assert showers.condition_units == {"theta_rad": "rad", "eta": "1"}
    assert [unit_of(name) for name in ("x_mm", "p_gev", "eta", "lar_energy", "mm")] == [
        "mm",
        "GeV",
        "",
        "",
        "",
    ]
    with pytest.raises(DataError, match="unknown condition"):
        make(condition_units={"phi": "rad"})


@pytest.mark.parametrize("index", [slice(1, 4), [4, 0], np.array([True, False] * 3), np.arange(3), []])
def test_select_takes_everything_along(index):
    showers = make()
    chosen = showers.select(index)
    rows = np.arange(6)[np.asarray(index, dtype=np.int64) if isinstance(index, list) else index]
    assert np.array_equal(chosen.voxels_mev, showers.voxels_mev[rows])
    assert np.array_equal(chosen.overflow_mev, showers.overflow_mev[rows])
    assert np.array_equal(chosen.weights, showers.weights[rows])
    assert np.array_equal(chosen.conditions["eta"], showers.conditions["eta"][rows])
    assert (chosen.pdg, chosen.provenance) == (11, {"made": "here"})
    with pytest.raises(DataError, match="selection"):
        showers.select(np.ones(5, dtype=bool))


def test_split_is_a_partition_fixed_by_its_seed():
    showers = make(50)
    first, rest = showers.split(0.8, seed=3)
    assert (len(first), len(rest)) == (40, 10)
    energies = np.concatenate([first.incident_energy_gev, rest.incident_energy_gev])
    assert np.array_equal(np.sort(energies), np.sort(showers.incident_energy_gev))
    assert np.array_equal(first.voxels_mev, showers.split(0.8, seed=3)[0].voxels_mev)
    assert not np.array_equal(first.voxels_mev, showers.split(0.8, seed=4)[0].voxels_mev)
    for fraction in (0.0, 1.0, 0.001, np.nan):
        with pytest.raises(DataError, match="both parts"):
            showers.split(fraction, seed=0)


def test_threshold_zeroes_what_lies_below():
    showers = make()
    cut = showers.with_threshold(5.0)
    low = showers.voxels_mev < 5.0
    assert low.any()
    assert not cut.voxels_mev[low].any()
    assert np.array_equal(cut.voxels_mev[~low], showers.voxels_mev[~low])
    assert np.array_equal(cut.overflow_mev, showers.overflow_mev)


def test_concatenate_undoes_a_division():
    showers = make()
    again = Showers.concatenate([showers.select(slice(0, 2)), showers.select(slice(2, None))])
    for name in ("incident_energy_gev", "voxels_mev", "overflow_mev", "weights"):
        assert np.array_equal(getattr(again, name), getattr(showers, name))
    assert Showers.concatenate([showers, dataclasses.replace(showers, pdg=22)]).pdg is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"geometry": calochallenge("photons"), "voxels_mev": np.ones((6, 368)), "overflow_mev": None},
            GeometryError,
            "part 1",
        ),
        ({"overflow_mev": None}, DataError, "overflow_mev is given for some"),
        ({"weights": None}, DataError, "weights is given for some"),
        ({"conditions": {}}, DataError, "different conditions"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        Showers.concatenate([make(), make(**change)])
    with pytest.raises(DataError, match="no showers"):
        Showers.concatenate([])


def bad(values, index, value):
    values = np.array(values, dtype=np.float64)
    values[index] = value
    return values


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"voxels_mev": np.ones((6, 503))},
            GeometryError,
            r"voxels_mev: wrong shape[\s\S]*\(6, 504\).*calogan",
        ),
        ({"voxels_mev": np.ones(504)}, DataError, "voxels_mev: wrong shape"),
        ({"incident_energy_gev": np.ones((6, 1))}, DataError, "incident_energy_gev: wrong shape"),
        (
            {"incident_energy_gev": bad(np.ones(6), 2, 0.0)},
            DataError,
            "incident_energy_gev, entry 2.*must be positive",
        ),
        ({"incident_energy_gev": ["a"] * 6}, DataError, "not an array of numbers"),
        ({"overflow_mev": np.ones((6, 2))}, GeometryError, "overflow_mev: wrong shape"),
        (
            {"overflow_mev": bad(np.ones((6, 3)), (5, 1), -1.0)},
            DataError,
            "overflow_mev, entry 5, column 1: negative",
        ),
        (
            {"voxels_mev": bad(np.ones((6, 504)), (4, 290), -2.5)},
            DataError,
            r"entry 4, layer_1\[0, 2\] .*negative[\s\S]*-2\.5",
        ),
        (
            {"voxels_mev": bad(np.ones((6, 504)), (1, 0), np.nan)},
            DataError,
            r"entry 1, layer_0\[0, 0\].*not finite",
        ),
        ({"voxels_mev": bad(np.ones((6, 504)), (1, 0), 1e39)}, DataError, "not finite"),
        ({"weights": bad(np.ones(6), 3, np.inf)}, DataError, "weights, entry 3: value is not finite"),
        ({"conditions": {"eta": np.ones(5)}}, DataError, "'eta'.*wrong shape"),
    ],
)
def test_impossible_values_are_refused_with_their_place(change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().pdg = 22
