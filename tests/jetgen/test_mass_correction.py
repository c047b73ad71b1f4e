"""The correction before the exact mass: how near it comes, whom it moves, and that exactness does not suffer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import jetgen as jg
from hepflows.errors import ConfigError
from jetgen.mass_correction import correct_mass
from jetgen.mass_kernel import jet_masses

SMALL = {"coupling": {"blocks": 2, "width": 8, "depth": 1}, "training": {"epochs": 1, "batch_size": 200}}


@pytest.fixture(scope="module")
def jets():
    return jg.read_jets(jg.embedded_jets_path(), first=1500)


@pytest.fixture(scope="module")
def free(jets):
    return jg.fit(jg.JetFlow("cnf_mn", **SMALL), jets)


def tensors(jets):
    angles = [torch.from_numpy(values).double() for values in (jets.eta_rel, jets.phi_rel, jets.pt_rel)]
    return (*angles, torch.from_numpy(jets.mask))


def masses(eta, phi, pt):
    return torch.from_numpy(jet_masses(*(values.detach().numpy() for values in (eta, phi, pt))))


@pytest.mark.parametrize("miss", [-0.15, -0.05, 0.05, 0.15])
def test_little_is_left_of_a_miss(jets, miss):
    eta, phi, pt, mask = tensors(jets)
    before = masses(eta, phi, pt)
    wanted = before * math.exp(miss)
    after = masses(*correct_mass(eta, phi, pt, mask, wanted), pt)
    left = (after / wanted).log().abs()[mask.sum(1) > 1]
    assert float(left.median()) < 1e-3
    assert float(left.quantile(0.99)) < abs(miss) / 2


def test_those_who_make_the_mass_move(jets):
    eta, phi, pt, mask = tensors(jets)
    new_eta, new_phi = correct_mass(eta, phi, pt, mask, 1.1 * masses(eta, phi, pt))
    weight = pt / pt.sum(1, keepdim=True)
    centre = [(weight * angle).sum(1, keepdim=True) for angle in (eta, phi)]
    share = weight * ((eta - centre[0]) ** 2 + (phi - centre[1]) ** 2)
    moved = ((new_eta - eta) ** 2 + (new_phi - phi) ** 2).sqrt()
    relative = moved / ((eta - centre[0]) ** 2 + (phi - centre[1]) ** 2).sqrt().clamp_min(1e-12)
    several = mask.sum(1) > 5
    leading = share.argmax(1, keepdim=True)
    of_leading = relative.gather(1, leading)[several]
    of_median = torch.where(mask, relative, torch.nan)[several].nanmedian(1).values
    assert float((of_median / of_leading.squeeze(1)).median()) < 0.5
    for new, old in ((new_eta, eta), (new_phi, phi)):  # the jet's centre stays
        torch.testing.assert_close((weight * new).sum(1), (weight * old).sum(1), rtol=0, atol=1e-12)


def test_right_masses_are_left_alone(jets):
    eta, phi, pt, mask = tensors(jets)
    new_eta, new_phi = correct_mass(eta, phi, pt, mask, masses(eta, phi, pt))
    torch.testing.assert_close(new_eta, eta, rtol=0, atol=1e-9)
    torch.testing.assert_close(new_phi, phi, rtol=0, atol=1e-9)


def test_permuted_and_mirrored_jets_are_corrected_alike(jets):
    eta, phi, pt, mask = tensors(jets)
    mass = 1.2 * masses(eta, phi, pt)
    new_eta, new_phi = correct_mass(eta, phi, pt, mask, mass)
    order = torch.randperm(eta.shape[1], generator=torch.Generator().manual_seed(1))
    permuted = correct_mass(eta[:, order], phi[:, order], pt[:, order], mask[:, order], mass)
    torch.testing.assert_close(permuted[0], new_eta[:, order], rtol=1e-9, atol=1e-12)
    mirrored = correct_mass(-eta, phi, pt, mask, mass)
    torch.testing.assert_close(mirrored[0], -new_eta, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(mirrored[1], new_phi, rtol=1e-9, atol=1e-12)


def test_gradients_are_those_of_finite_differences(jets):
    full = jets.select(np.flatnonzero(jets.multiplicity > 5)[:3])
    eta, phi, pt, mask = (values[:, :5] for values in tensors(full))
    mass = masses(eta, phi, pt) * torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64)
    inputs = [values.clone().requires_grad_() for values in (eta, phi, pt, mass)]
    assert torch.autograd.gradcheck(lambda a, b, c, d: correct_mass(a, b, c, mask, d), inputs)


def test_exact_differs_from_cnf_mn_in_sampling_alone(free, jets):
    trained = jg.fit(jg.JetFlow("exact", **SMALL), jets)
    derived = free.with_exact_mass()
    assert (derived.config.constraint, free.config.constraint) == ("exact", "none")
    assert (derived.kind, derived.document["kind"], free.kind) == ("exact", "exact", "cnf_mn")
    one, two, three = (generator.sample(jets.conditions, seed=3) for generator in (trained, derived, free))
    np.testing.assert_array_equal(one.particles, two.particles)
    np.testing.assert_array_equal(one.pt_rel, three.pt_rel)
    assert np.abs(one.mass_rel / jets.mass_rel - 1)[jets.multiplicity > 1].max() < 1e-5


def test_a_network_trained_without_jitter_is_made_exact_without(free, jets):
    config = free.config.model_copy(update={"scale_jitter": 0.1})  # says nothing where the mass is free
    other = jg.JetGenerator(free.model, config, free._document)
    one, two = (generator.with_exact_mass().sample(jets.conditions, seed=3) for generator in (free, other))
    np.testing.assert_array_equal(one.particles, two.particles)


def test_a_generator_made_exact_is_saved_and_loaded(free, tmp_path):
    derived = free.with_exact_mass()
    loaded = jg.JetGenerator.load(derived.save(tmp_path / "exact"))
    np.testing.assert_array_equal(*(g.sample(n=300, seed=3).particles for g in (derived, loaded)))


def test_only_a_network_that_is_told_the_mass_can_be_made_exact(jets):
    with pytest.raises(ConfigError, match="mass"):
        jg.fit(jg.JetFlow("vnf", **SMALL), jets).with_exact_mass()
