from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from calofast.geometry import Geometry, calochallenge, calogan
from calofast.layer import Layer
from calofast.observables import OBSERVABLES
from calofast.shower_profiles import MAX_RADIAL_BINS, profile_observables, radial_profile, shower_response
from calofast.showers import Showers


def random_showers(geometry, n=30, *, seed=0):
    rng = np.random.default_rng(seed)
    lit = rng.uniform(size=(n, geometry.n_voxels)) < 0.4
    voxels = rng.exponential(5.0, size=(n, geometry.n_voxels)) * np.exp(-geometry.r_mm / 50) * lit
    return Showers(geometry=geometry, incident_energy_gev=rng.uniform(1, 100, n), voxels_mev=voxels)


GEOMETRIES = pytest.mark.parametrize("geometry", [calogan(), calochallenge("photons")], ids=lambda g: g.name)


@GEOMETRIES
def test_against_sorting_the_cells_of_each_shower(geometry):
    showers = random_showers(geometry)
    found = radial_profile(showers)
    r, voxels = geometry.r_mm, showers.voxels_mev.astype(np.float64)
    np.testing.assert_allclose(found.mean_mm, voxels @ r / voxels.sum(1), rtol=1e-9)
    np.testing.assert_allclose(found.energies_mev.sum(1), voxels.sum(1), rtol=1e-6)
    for k in range(len(found.edges_mm) - 1):
        inside = (r >= found.edges_mm[k]) & (r < found.edges_mm[k + 1])
        np.testing.assert_allclose(found.energies_mev[:, k], voxels[:, inside].sum(1), rtol=1e-5, atol=1e-9)
    assert len(found.edges_mm) - 1 <= MAX_RADIAL_BINS
    radii = np.unique(np.round(r, 6))
    for event, cells in zip(found.contained_mm, voxels, strict=True):
        # the radius of containment lies between the rings on both sides of 90 %
        within = np.array([cells[r <= radius + 1e-5].sum() for radius in radii]) / cells.sum()
        ring = int(np.argmax(within >= 0.9))
        assert radii[max(0, ring - 1)] <= event <= radii[ring] + 1e-9


def test_one_ring_after_another():
    layer = Layer(name="disc", kind="cylindrical", r_edges_mm=(0, 2, 4, 6), n_alpha=2)  # midpoints 1, 3, 5
    geometry = Geometry("disc", (layer,))
    cells = np.zeros((4, 2, 3))
    cells[0, :, 0] = 1.0
    cells[1, 1, 2] = 4.0
    cells[2, 0] = [8.0, 1.0, 1.0]  # exactly 90 % within 3 mm
    showers = Showers(geometry=geometry, incident_energy_gev=np.ones(4), voxels_mev=cells.reshape(4, 6))
    found = {o.name: o.values for o in profile_observables(showers)}
    np.testing.assert_allclose(found["radius"], [1, 5, 1.6, np.nan])
    np.testing.assert_allclose(found["radius_90"], [1, 3 + 2 * 0.9, 3, np.nan])
    np.testing.assert_allclose(found["peak_layer"], [0, 0, 0, np.nan])


@GEOMETRIES
def test_scale_and_mirror_change_no_shape(geometry):
    showers = random_showers(geometry)
    before = {o.name: o.values for o in profile_observables(showers)}
    mirrored = showers.voxels_mev[:, geometry.mirrors()["mirror_x"]]
    for voxels in (4 * showers.voxels_mev, mirrored):
        after = {o.name: o.values for o in profile_observables(dataclasses.replace(showers, voxels_mev=voxels))}
        for name, values in before.items():
            np.testing.assert_allclose(after[name], values, rtol=1e-9, err_msg=name)


def test_cells_without_distance_have_no_radius():
    layer = Layer(name="block", kind="regular", x_edges_mm=(-5, 5), y_edges_mm=(-5, 5))
    showers = random_showers(Geometry("block", (layer,)))
    assert [o.name for o in profile_observables(showers)] == ["peak_layer"]
    assert [p.name for p in shower_response(showers).profiles] == ["longitudinal"]


def test_response_holds_energies_after_the_threshold():
    geometry = calogan()
    voxels = np.full((1, geometry.n_voxels), 0.009, np.float32)  # below 10 keV
    voxels[0, 300] = 500.0
    response = OBSERVABLES.response(Showers(geometry=geometry, incident_energy_gev=[2.0], voxels_mev=voxels))
    assert response.signal[0] == pytest.approx(0.5)
    assert response.truth[0] == 2
    longitudinal, radial = response.profiles
    np.testing.assert_allclose(longitudinal.values, [[0, 500, 0]])
    np.testing.assert_allclose(longitudinal.edges, [0, 90, 437, 480])
    assert longitudinal.unit == "mm"
    assert radial.values.sum() == pytest.approx(500)
    assert shower_response(random_showers(calochallenge("photons"))).profiles[0].unit == ""


def test_observables_include_the_profiles():
    names = [o.name for o in OBSERVABLES.observables(random_showers(calogan()))]
    assert {"peak_layer", "radius", "radius_90"} <= set(names)
    assert len(set(names)) == len(names)
