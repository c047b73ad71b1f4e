"""The closest of several drawn jets: which one it is, and that it is the flow's jet at its mass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jetgen as jg
from hepflows.errors import ConfigError
from hepflows.philox import normal_noise
from jetgen.candidates import closest_in_mass, repeated
from jetgen.kinematics import mass_rel
from jetgen.preprocessing import Constituents

SMALL = {"coupling": {"blocks": 2, "width": 8, "depth": 1}, "training": {"epochs": 1, "batch_size": 200}}


@pytest.fixture(scope="module")
def jets():
    return jg.read_jets(jg.embedded_jets_path(), first=1500)


@pytest.fixture(scope="module")
def free(jets):
    return jg.fit(jg.JetFlow("cnf_mn", **SMALL), jets)


def pairs(separations):
    """Jets of two constituents (N, 2) of equal pT that are so far apart in phi."""
    separations = torch.as_tensor(separations, dtype=torch.float64)[:, None]
    zero = torch.zeros_like(separations)
    phi = torch.cat([zero, separations], dim=1)
    return Constituents(torch.zeros_like(phi), phi, torch.full_like(phi, 0.5), torch.ones_like(phi, dtype=torch.bool))


def masses(jets):
    return mass_rel(jets.eta, jets.phi, jets.pt)


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float64, (6, 5), elements=st.floats(1e-3, 1.0)),
    arrays(np.float64, 6, elements=st.floats(1e-3, 0.5)),
)
def test_the_smallest_factor_wins(separations, wanted):
    candidates = pairs(separations.ravel())
    found = closest_in_mass(candidates, torch.from_numpy(np.repeat(wanted, 5)), 5)
    off = np.abs(np.log(masses(candidates).numpy().reshape(6, 5) / wanted[:, None]))
    np.testing.assert_allclose(np.abs(np.log(masses(found).numpy() / wanted)), off.min(1), rtol=1e-6, atol=1e-9)


def test_a_single_constituent_takes_the_first_of_equal_ones():
    mask = torch.tensor([[True, False]]).expand(6, 2)
    pt = torch.arange(1.0, 7.0)[:, None] * mask
    found = closest_in_mass(Constituents(torch.zeros(6, 2), torch.zeros(6, 2), pt, mask), torch.zeros(6), 3)
    torch.testing.assert_close(found.pt[:, 0], torch.tensor([1.0, 4.0]))


def test_conditions_of_a_jet_stand_side_by_side():
    assert repeated(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 2).tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]


def test_exact_differs_from_cnf_mn_in_sampling_alone(free, jets):
    trained = jg.fit(jg.JetFlow("exact", **SMALL), jets)
    derived = free.with_exact_mass()
    assert derived.config.constraint == "exact"
    assert free.config.constraint == "none"
    one, two = (generator.sample(jets.conditions, seed=3) for generator in (trained, derived))
    np.testing.assert_array_equal(one.particles, two.particles)


def test_derived_generators_are_saved_and_loaded(free, jets, tmp_path):
    derived = free.with_exact_mass(candidates=2)
    loaded = jg.JetGenerator.load(derived.save(tmp_path / "exact"))
    assert loaded.noise_dim == 2 * free.noise_dim
    np.testing.assert_array_equal(*(g.sample(n=300, seed=3).particles for g in (derived, loaded)))


def test_one_candidate_is_the_flow_s_jet_scaled(free, jets):
    derived = free.with_exact_mass(candidates=1)
    one, two = (generator.sample(jets.conditions, seed=3) for generator in (free, derived))
    np.testing.assert_array_equal(one.pt_rel, two.pt_rel)


def test_each_jet_is_one_of_its_candidates_and_misses_shrink(free, jets):
    derived = free.with_exact_mass(candidates=8)
    matrix = torch.from_numpy(derived.condition_matrix(jets.conditions))
    noise = torch.from_numpy(normal_noise(5, 0, len(jets), derived.noise_dim))
    with torch.no_grad():
        chosen = derived.model.unconstrained(noise, matrix)
        each = [free.model.sample(part, matrix) for part in noise.chunk(8, dim=1)]
    same = torch.stack([(chosen.pt - candidate.pt).abs().amax(1) < 1e-6 for candidate in each])
    assert same.any(0).all()
    many = jets.multiplicity > 1
    one, best = ((masses(j) / matrix[:, 0]).log()[many].abs().median() for j in (each[0], chosen))
    assert best < one / 4


def test_jets_do_not_depend_on_the_batch(free, jets):
    derived = free.with_exact_mass()
    whole = derived.sample(jets.conditions, seed=3)
    part = derived.sample({k: v[400:500] for k, v in jets.conditions.items()}, seed=3, first_event=400)
    np.testing.assert_array_equal(whole.particles[400:500], part.particles)


def test_masses_must_be_known_and_exact(jets):
    vnf = jg.fit(jg.JetFlow("vnf", **SMALL), jets)
    with pytest.raises(ConfigError, match="mass"):
        vnf.with_exact_mass()
    with pytest.raises(ConfigError, match="mass_candidates"):
        jg.JetFlow("cnf_mn", mass_candidates=2)
    with pytest.raises(ConfigError, match="mass_candidates"):
        jg.JetFlow("exact", mass_candidates=0)
    with pytest.raises(ConfigError, match="variants"):
        jg.JetFlow("exact", variants=["vnf", "exact"], mass_candidates=2)
