"""Numbers of hits in Flow I: exact where they are counted, known to Flow II, part of everything that follows."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import calofast as cf
from benchmarks.long_production import check_showers
from calofast import condition_values, truth
from calofast.caloflow import CaloFlowModel
from calofast.density import DEQUANTISATION_STREAM, HITS_STREAM
from calofast.hits import dequantised_hits, whole_hits
from calofast.preprocessing import layer_matrix
from calofast.refinement import ShowerRefinement
from calofast.training import distill, fit
from hepflows.philox import normal_noise, uniform_noise

SIZES = (3, 2, 4)
THRESHOLD_MEV = 0.01


@given(st.lists(st.lists(st.sampled_from([0.0, 0.0099, 0.01, 5.0]), min_size=9, max_size=9), min_size=1, max_size=5))
def test_dequantised_numbers_are_the_numbers_when_cut(rows):
    voxels, members = torch.tensor(rows), layer_matrix(SIZES)
    found = whole_hits(dequantised_hits(voxels, THRESHOLD_MEV, members), members)
    expected = torch.stack([(part >= THRESHOLD_MEV).sum(1) for part in voxels.split(SIZES, dim=1)], dim=1)
    assert torch.equal(found, expected.float())


def test_numbers_end_at_the_voxels_of_a_layer():
    found = whole_hits(torch.tensor([[-0.7, 2.99, 1e30], [0.99, 2.0, 4.2]]), layer_matrix(SIZES))
    assert found.tolist() == [[0, 2, 4], [0, 2, 4]]


def config(make_config, **changes):
    training = {"epochs": 40, "batch_size": 50, "learning_rate": 5e-3}
    first = {"blocks": 3, "hidden": [24], "alpha": 1e-10, "hits": True, "training": training}
    return make_config(layer_energies=first, **changes)


@pytest.fixture(scope="module")
def showers(make_showers):
    """Two kinds of showers of the same energies: few voxels of the first layer are lit in one, most in the other."""
    found = make_showers(1500, seed=5)
    few = np.random.default_rng(1).uniform(size=len(found)) < 0.5
    found.voxels_mev[np.ix_(few, range(1, 5))] = 0.0
    return found


@pytest.fixture(scope="module")
def coupling(make_config, showers):
    training = {"epochs": 12, "batch_size": 50, "learning_rate": 5e-3}
    second = {"blocks": 4, "width": 24, "neighbours": 4, "training": training}
    settings = config(make_config, architecture="coupling", student=None, coupling=second)
    return fit(cf.CaloFlow(showers.geometry, settings), showers)


def numbers_of(voxels):
    return (voxels[:, :6] >= THRESHOLD_MEV).sum(1)


def test_flow_i_draws_both_kinds(coupling, showers):
    energies = torch.from_numpy(showers.incident_energy_gev[:, None])
    noise = torch.randn(len(energies), coupling.model.n_totals, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        totals = coupling.model.sample_layers(noise, energies)
    drawn = whole_hits(totals[:, 3:], coupling.model.voxels.members)[:, 0].numpy()
    real = numbers_of(showers.voxels_mev)
    found, expected = (np.bincount(values.astype(int), minlength=7) / len(values) for values in (drawn, real))
    assert found == pytest.approx(expected, abs=0.06)


def test_flow_ii_lights_as_many_as_it_is_told(coupling, showers):
    """Told one number or another at the same energies, it follows."""
    model, n = coupling.model, 400
    conditions = torch.from_numpy(showers.incident_energy_gev[:n, None])
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(n, model.noise_dim, generator=generator)
    with torch.no_grad():
        totals = model.sample_layers(noise[:, : model.n_totals], conditions)
        lit = []
        for told in (2.5, 5.5):
            totals[:, 3] = told
            voxels = model.sample_voxels(noise[:, model.n_totals :], conditions, totals)
            lit.append(numbers_of(voxels.numpy()).mean())
    assert lit[0] == pytest.approx(2.0, abs=0.5)
    assert lit[1] == pytest.approx(5.0, abs=0.5)


def test_a_shower_takes_a_number_more_a_layer(coupling):
    assert coupling.noise_dim == 2 * 3 + 12
    assert coupling.export_metadata()["noise"]["order"] == "6 of Flow I, then 12 of Flow II"


def test_layers_keep_flow_is_energies(coupling):
    energies, voxels = coupling.sample_stages(np.linspace(2, 95, 300), seed=1)
    assert energies.shape == (300, 3)
    sums = np.stack([part.sum(1) for part in np.split(voxels.astype(np.float64), [6, 10], axis=1)], axis=1)
    np.testing.assert_allclose(sums, energies, rtol=1e-5)


def test_flow_is_density_is_that_of_energies_and_dequantised_hits(coupling, showers):
    few = showers.select(slice(30))
    found = coupling.log_prob(few, dtype="float64", seed=3)
    model = copy.deepcopy(coupling.model).double()
    noise = normal_noise(3, 0, 30, model.n_voxels, stream=DEQUANTISATION_STREAM)
    fractions = torch.from_numpy(uniform_noise(3, 0, 30, 3, stream=HITS_STREAM))
    voxels = torch.from_numpy(few.voxels_mev).double()
    energies = model.voxels.layer_energies(voxels, model.voxels.dequantise(voxels, torch.from_numpy(noise).double()))
    numbers = torch.stack([(part >= THRESHOLD_MEV).sum(1) for part in voxels.split([6, 4, 2], dim=1)], dim=1)
    incident = torch.from_numpy(few.incident_energy_gev).double()
    with torch.no_grad():
        expected = model.layer_energies.log_prob(
            torch.cat([energies, numbers + fractions], dim=1), incident, model.conditions(incident[:, None])
        )
    np.testing.assert_allclose(found.layers, expected.numpy(), rtol=1e-10)
    assert found.residual.max() < 1e-6


def test_the_fractions_are_no_other_stream_of_showers():
    assert HITS_STREAM not in {
        DEQUANTISATION_STREAM,
        condition_values._STREAM,
        truth._ENERGY_STREAM,
        truth._SEED_STREAM,
    }


@pytest.mark.parametrize("number", [0.0, 1.0, 20.0, 288.0, 6480.0])
def test_the_largest_fraction_is_not_rounded_to_the_next_number(number):
    voxels, members = torch.ones(1, int(number) + 1), torch.ones(int(number) + 1, 1)
    voxels[:, int(number) :] = 0.0
    noise = torch.full((1, 1), 1 - 2.0**-24)
    found = whole_hits(dequantised_hits(voxels, THRESHOLD_MEV, members, noise), members)
    assert found.item() == number


def test_a_layer_that_is_always_lit_gives_no_wild_context(make_config, showers):
    lit = showers.select(slice(None))
    lit.voxels_mev[:, 6:10] = np.maximum(lit.voxels_mev[:, 6:10], 1.0)
    model = CaloFlowModel(lit.geometry, config(make_config), "teacher")
    voxels, energies = torch.from_numpy(lit.voxels_mev), torch.from_numpy(lit.incident_energy_gev[:, None])
    model.fit_preprocessing(voxels, energies, torch.tensor([[1.0], [100.0]]))
    totals = model.totals(voxels, model.voxels.dequantise(voxels))
    totals[:, 4] = 3.5  # of four
    assert model.context(energies, totals)[:, 5].abs().max() < 3


def test_flow_is_latents_have_the_same_emphasis(coupling):
    emphasis = ShowerRefinement().latent_emphasis(coupling)
    assert emphasis.shape == (coupling.noise_dim,)
    assert (emphasis == 1).sum() == 6


def test_a_production_is_compared_with_flow_is_energies(coupling, showers):
    made = coupling.sample(showers.incident_energy_gev[:60], seed=4)
    bad, deviation = check_showers(made, coupling, seed=4, first_event=0)
    assert not bad.any()
    assert deviation < 1e-4
    assert check_showers(made, coupling, seed=5, first_event=0)[0].all()


def test_saved_loaded_and_exported(coupling, tmp_path):
    from exporters import to_onnx
    from exporters.contract import is_portable

    coupling.save(tmp_path / "coupling")
    loaded = cf.CaloGenerator.load(tmp_path / "coupling")
    energies = np.linspace(2, 90, 100)
    expected = coupling.sample(energies, seed=1).voxels_mev
    np.testing.assert_array_equal(loaded.sample(energies, seed=1).voxels_mev, expected)
    result = to_onnx(loaded, tmp_path / "coupling.onnx", parity_events=512)
    assert result.parity.passed
    assert is_portable(result.operators)


def test_a_student_knows_the_numbers_of_its_teacher(make_config, showers):
    once = {"epochs": 1, "batch_size": 200}
    second = {"blocks": 2, "hidden": [16], "training": once}
    settings = config(make_config, teacher=second, student={"hidden": [16], "training": once, "likelihood": once})
    teacher = fit(cf.CaloFlow(showers.geometry, settings), showers)
    student = distill(teacher, showers)
    one, two = (generator.sample_stages(np.full(50, 40.0), seed=2)[0] for generator in (teacher, student))
    np.testing.assert_array_equal(one, two)
    assert student.noise_dim == teacher.noise_dim == 18
