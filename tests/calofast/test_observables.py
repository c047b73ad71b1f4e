from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from calofast.classifier_inputs import feature_matrix
from calofast.geometry import Geometry, calochallenge, calogan
from calofast.layer import Layer
from calofast.observables import INPUTS, OBSERVABLES, ShowerDomain, default_threshold_mev
from calofast.showers import Showers
from hepflows.errors import ConfigError, DataError, GeometryError, UnitsError


def random_showers(geometry, n=40, *, seed=0, **others):
    rng = np.random.default_rng(seed)
    voxels = rng.exponential(5.0, size=(n, geometry.n_voxels)) * (rng.uniform(size=(n, geometry.n_voxels)) < 0.5)
    return Showers(
        geometry=geometry,
        incident_energy_gev=rng.uniform(1, 100, n),
        voxels_mev=voxels.astype(np.float32),
        **others,
    )


def by_name(showers, **options):
    return {o.name: o for o in OBSERVABLES.observables(showers, **options)}


@pytest.mark.parametrize("geometry", [calogan(), calochallenge("photons")], ids=lambda g: g.name)
def test_against_the_direct_formula(geometry):
    showers = random_showers(geometry)
    threshold = default_threshold_mev(geometry)
    found = by_name(showers)
    voxels = showers.voxels_mev.astype(np.float64)
    voxels[showers.voxels_mev < np.float32(threshold)] = 0
    total = voxels.sum(1)
    np.testing.assert_allclose(found["e_tot_ratio"].values, total / (1000 * showers.incident_energy_gev), rtol=1e-6)
    np.testing.assert_allclose(found["sparsity"].values, (voxels > 0).mean(1))
    np.testing.assert_array_equal(found["voxel_energy"].values, voxels)
    names = ("x", "y") if geometry.name == "calogan" else ("eta", "phi")
    seen = 0
    for i, layer in enumerate(geometry.layers):
        tag, part = layer.name.removeprefix("layer_"), geometry.layer_slices[i]
        cells = voxels[:, part]
        energy = cells.sum(1)
        np.testing.assert_allclose(found[f"layer_energy_{tag}"].values, energy, rtol=1e-12)
        np.testing.assert_allclose(found[f"layer_fraction_{tag}"].values, energy / total, rtol=1e-12)
        np.testing.assert_allclose(found[f"sparsity_{tag}"].values, (cells > 0).mean(1))
        positions = dict(zip((*names, "r"), (geometry.x_mm, geometry.y_mm, geometry.r_mm), strict=True))
        for axis, position in positions.items():
            if f"centre_{axis}_{tag}" not in found:
                assert layer.kind == "cylindrical"
                assert layer.n_alpha == 1
                continue
            seen += 1
            mean = (cells * position[part]).sum(1) / energy
            square = (cells * position[part] ** 2).sum(1) / energy
            np.testing.assert_allclose(found[f"centre_{axis}_{tag}"].values, mean, rtol=1e-9, atol=1e-9)
            width = np.sqrt(np.maximum(0, square - mean**2))
            np.testing.assert_allclose(found[f"width_{axis}_{tag}"].values, width, rtol=1e-6)
    assert seen == (9 if geometry.name == "calogan" else 6)
    index = np.arange(geometry.n_layers)
    layers = np.stack([voxels[:, part].sum(1) for part in geometry.layer_slices], 1)
    np.testing.assert_allclose(found["depth"].values, layers @ index / total)


def test_one_voxel_gives_its_own_place():
    geometry = calogan()
    voxels = np.zeros((1, geometry.n_voxels), np.float32)
    voxels[0, 288 + 5 * 12 + 7] = 3.0  # layer 1, x bin 5, y bin 7
    found = by_name(Showers(geometry=geometry, incident_energy_gev=[10.0], voxels_mev=voxels))
    assert found["centre_x_1"].values[0] == pytest.approx(-20)
    assert found["centre_y_1"].values[0] == pytest.approx(60)
    assert found["width_x_1"].values[0] == pytest.approx(0, abs=1e-6)
    assert found["layer_fraction_1"].values[0] == 1
    assert found["depth"].values[0] == 1
    assert found["depth_width"].values[0] == 0
    assert np.isnan(found["centre_x_0"].values[0])  # nothing there: not defined, not zero


@pytest.mark.parametrize("geometry", [calogan(), calochallenge("photons")], ids=lambda g: g.name)
def test_mirror_flips_the_sign_of_the_centre_only(geometry):
    showers = random_showers(geometry)
    mirrored = dataclasses.replace(showers, voxels_mev=showers.voxels_mev[:, geometry.mirrors()["mirror_x"]])
    before, after = by_name(showers), by_name(mirrored)
    for name, observable in before.items():
        if name.startswith("voxel_energy"):
            continue
        sign = -1 if name.startswith(("centre_x", "centre_eta")) else 1
        np.testing.assert_allclose(after[name].values, sign * observable.values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_scaling_energies_leaves_shapes():
    showers = random_showers(calogan())
    before = by_name(showers, threshold_mev=0.0)
    scaled = dataclasses.replace(showers, voxels_mev=2 * showers.voxels_mev)
    after = by_name(scaled, threshold_mev=0.0)
    for name in before:
        scale = 2 if "energy" in name or name == "e_tot_ratio" else 1
        np.testing.assert_allclose(after[name].values, scale * before[name].values, rtol=1e-12, err_msg=name)


def test_threshold_comes_first():
    geometry = calogan()
    voxels = np.full((1, geometry.n_voxels), 0.009, np.float32)
    voxels[0, 0], voxels[0, 1] = 0.01, 1.0  # 10 keV is kept, 9 keV is not
    showers = Showers(geometry=geometry, incident_energy_gev=[1.0], voxels_mev=voxels)
    assert by_name(showers)["sparsity"].values[0] == pytest.approx(2 / geometry.n_voxels)
    assert by_name(showers)["e_tot_ratio"].values[0] == pytest.approx(1.01e-3)
    assert by_name(showers, threshold_mev=0.005)["sparsity"].values[0] == 1
    published = {"photons": 1.0, "pions": 1.0, "dataset_2": 0.01515, "dataset_3": 0.01515}
    assert {name: default_threshold_mev(calochallenge(name)) for name in published} == published


def test_axes_with_one_cell_have_no_centre():
    layer = Layer(name="strips", kind="regular", x_edges_mm=(-5, 5), y_edges_mm=(-2, 0, 2))
    found = by_name(random_showers(Geometry("strips", (layer,))))
    assert "centre_y_strips" in found
    assert "centre_x_strips" not in found


def test_published_edges_belong_to_the_calochallenge():
    found = by_name(random_showers(calochallenge("pions")))
    np.testing.assert_allclose(found["e_tot_ratio"].edges, np.linspace(0.5, 1.5, 101))
    np.testing.assert_allclose(found["centre_eta_1"].edges, np.linspace(-100, 100, 101))
    np.testing.assert_allclose(found["centre_phi_12"].edges, np.linspace(-500, 500, 101))
    np.testing.assert_allclose(found["width_eta_13"].edges, np.linspace(0, 400, 101))
    assert found["centre_r_1"].edges is None
    assert all(o.edges is None for o in by_name(random_showers(calogan())).values())


def test_caloflow_inputs_are_the_published_ones():
    showers = random_showers(calogan())
    features = OBSERVABLES.classifier_inputs(showers, preset="caloflow", inputs="low", threshold_mev=0.0)
    assert features.shape == (40, 1 + 504 + 3)
    assert features.dtype == np.float32
    layers = showers.layer_energies_mev
    np.testing.assert_allclose(features[:, 0], np.log10(showers.incident_energy_gev / 10), atol=1e-6)
    np.testing.assert_allclose(features[:, 1:505], showers.voxels_mev / 1e5, rtol=1e-6)
    np.testing.assert_allclose(features[:, 505:], np.log10(layers / 1e5 + 1e-8) + 2, rtol=1e-5)
    normed = OBSERVABLES.classifier_inputs(showers, preset="caloflow", inputs="low_normed", threshold_mev=0.0)
    np.testing.assert_allclose(normed[:, 505:], features[:, 505:])
    np.testing.assert_allclose(normed[:, 1:289].sum(1), 1, rtol=1e-5)


def test_calochallenge_inputs_are_the_published_ones():
    showers = random_showers(calochallenge("photons"))
    e_inc_mev = 1000 * showers.incident_energy_gev[:, None]
    low = feature_matrix(showers, inputs="low", caloflow=False, threshold_mev=0.0)
    np.testing.assert_allclose(low[:, :1], np.log10(e_inc_mev), rtol=1e-6)
    np.testing.assert_allclose(low[:, 1:], showers.voxels_mev / e_inc_mev, rtol=1e-6)
    normed = feature_matrix(showers, inputs="low_normed", caloflow=False, threshold_mev=0.0)
    layers = showers.layer_energies_mev
    assert normed.shape == (40, 368 + 5)  # E_inc is no input of its own
    restored = normed[:, :368] * layers[:, showers.geometry.layer_index]
    np.testing.assert_allclose(restored, showers.voxels_mev, rtol=1e-5)
    np.testing.assert_allclose(normed[:, 368:], np.log10(layers + 1e-8), rtol=1e-5)
    log = feature_matrix(showers, inputs="log", caloflow=False, threshold_mev=0.5)
    lit = showers.voxels_mev > 0.5
    np.testing.assert_allclose(log[:, 1:][lit], np.log10(showers.voxels_mev[lit] / 0.5), rtol=1e-4, atol=1e-6)
    assert (log[:, 1:][~lit] == 0).all()


def test_inputs_are_finite_for_empty_showers():
    geometry = calogan()
    showers = Showers(geometry=geometry, incident_energy_gev=[1.0, 2.0], voxels_mev=np.zeros((2, geometry.n_voxels)))
    for preset in ("caloflow", "calochallenge"):
        for inputs in INPUTS:
            assert np.isfinite(OBSERVABLES.classifier_inputs(showers, preset=preset, inputs=inputs)).all()
    with pytest.raises(ConfigError, match="low_normed"):
        OBSERVABLES.classifier_inputs(showers, preset="caloflow", inputs="voxels")


def test_mirrored_columns_are_mirrored_showers():
    showers = random_showers(calogan())
    features = OBSERVABLES.classifier_inputs(showers, preset="quick", inputs="log")
    permutations = OBSERVABLES.mirrors(showers, inputs="log")
    for permutation, voxels in zip(permutations, showers.geometry.mirrors().values(), strict=True):
        mirrored = dataclasses.replace(showers, voxels_mev=showers.voxels_mev[:, voxels])
        expected = OBSERVABLES.classifier_inputs(mirrored, preset="quick", inputs="log")
        np.testing.assert_array_equal(features[:, permutation], expected)
    assert OBSERVABLES.mirrors(showers, inputs="low") == ()
    inclined = dataclasses.replace(showers, conditions={"theta_rad": np.zeros(40)})
    assert OBSERVABLES.mirrors(inclined, inputs="log") == ()
    assert OBSERVABLES.condition(inclined).shape == (40, 2)


@pytest.mark.parametrize("geometry", [calogan(), calochallenge("photons")], ids=lambda g: g.name)
def test_images_hold_the_mean_shower(geometry):
    showers = random_showers(geometry).with_threshold(1.0)
    for image, part, layer in zip(OBSERVABLES.images(showers), geometry.layer_slices, geometry.layers, strict=True):
        assert image.x_corners.shape == image.y_corners.shape == tuple(k + 1 for k in image.values.shape)
        mean = showers.voxels_mev[:, part].mean(0)
        assert np.isin(np.round(image.values, 4), np.round(mean.astype(np.float64), 4)).mean() > 0.99
        radius = np.hypot(image.x_corners, image.y_corners)
        if layer.kind == "cylindrical":
            np.testing.assert_allclose(radius[0], layer.r_edges_mm)
    regular = OBSERVABLES.images(random_showers(calogan()))[0]
    assert regular.values.shape == (96, 3)  # y down the rows, x along the columns


def test_incomparable_showers_are_explained():
    reference = random_showers(calogan(), pdg=11)
    cases = [
        (random_showers(calochallenge("photons")), GeometryError, "different geometries"),
        (random_showers(calogan(), pdg=211), DataError, "different particles"),
        (
            random_showers(calogan(), conditions={"theta_rad": np.zeros(40)}),
            DataError,
            "different conditions",
        ),
        (
            dataclasses.replace(reference, incident_energy_gev=1000 * reference.incident_energy_gev),
            UnitsError,
            "no incident energy",
        ),
    ]
    for generated, error, message in cases:
        with pytest.raises(error, match=message):
            OBSERVABLES.compatible(reference, generated)
    OBSERVABLES.compatible(reference, reference)
    assert OBSERVABLES.cautions(reference, reference) == ()
    narrow = dataclasses.replace(reference, incident_energy_gev=np.full(40, 50.0))
    assert "incident energies" in OBSERVABLES.cautions(reference, narrow)[0]


def test_settings():
    domain = OBSERVABLES.configured({"threshold_mev": 1.0})
    assert domain.settings(random_showers(calogan()))["threshold_mev"] == 1.0
    with pytest.raises(ConfigError, match="unknown setting"):
        OBSERVABLES.configured({"treshold_mev": 1.0})
    with pytest.raises(ConfigError, match="not negative"):
        ShowerDomain(threshold_mev=-1.0)


def test_physics_distances_take_the_published_high_inputs():
    showers = random_showers(calogan(), n=12)
    (measure,) = OBSERVABLES.measures(showers)
    assert (measure.kind, measure.names) == ("physics", ("fpd", "kpd"))
    expected = OBSERVABLES.classifier_inputs(showers, preset="calochallenge", inputs="high")
    np.testing.assert_array_equal(measure.values, expected)
    assert np.isfinite(measure.values).all()
