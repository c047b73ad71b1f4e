"""Masses at all angles and precisions, and the way between absolute and relative coordinates."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
import vector
from hypothesis import given
from hypothesis import strategies as st

from hepflows.errors import DataError
from jetgen.kinematics import four_momenta, mass_rel, mass_squared_rel, relative_constituents
from jetgen.mass_kernel import jet_masses
from jetgen.reading import embedded_jets_path, read_jets


def constituents(seed, *, n=20, p=12, angle=0.3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    pt = rng.exponential(size=(n, p))
    eta, phi = angle * rng.normal(size=(2, n, p))
    return eta.astype(dtype), np.clip(phi, -3, 3).astype(dtype), (pt / pt.sum(axis=1, keepdims=True)).astype(dtype)


def exact_mass(eta, phi, pt):
    """Mass of one jet with 60 digits, from energies and momenta, of the numbers as they are."""
    with mpmath.workdps(60):
        e = px = py = pz = mpmath.mpf(0)
        for one in zip(*(map(float, values) for values in (eta, phi, pt)), strict=True):
            x, y, w = map(mpmath.mpf, one)
            e, pz = e + w * mpmath.cosh(x), pz + w * mpmath.sinh(x)
            px, py = px + w * mpmath.cos(y), py + w * mpmath.sin(y)
        return float(mpmath.sqrt(e * e - px * px - py * py - pz * pz))


def pair_mass(eta, phi, pt):
    """The double sum over pairs."""
    x, y = eta[:, :, None] - eta[:, None], phi[:, :, None] - phi[:, None]
    terms = pt[:, :, None] * pt[:, None] * (2 * np.sinh(x / 2) ** 2 + 2 * np.sin(y / 2) ** 2)
    return np.sqrt(terms.sum(axis=(1, 2)))


@pytest.mark.parametrize("angle", [1.0, 1e-1, 1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_masses_agree_with_60_digits(angle, shift):
    eta, phi, pt = constituents(1, n=6, p=7, angle=angle)
    eta, phi = eta + shift, phi - shift
    exact = np.array([exact_mass(*jet) for jet in zip(eta, phi, pt, strict=True)])
    assert np.all(exact > 0)
    assert np.abs(jet_masses(eta, phi, pt) / exact - 1).max() < 3e-15
    tensors = [torch.from_numpy(values) for values in (eta, phi, pt)]
    assert np.abs(mass_rel(*tensors).numpy() / exact - 1).max() < 3e-15


@pytest.mark.parametrize("angle", [1.0, 1e-2, 1e-5])
def test_masses_of_single_precision_coordinates(angle):
    eta, phi, pt = constituents(2, n=6, angle=angle, dtype=np.float32)
    exact = np.array([exact_mass(*jet) for jet in zip(eta, phi, pt, strict=True)])
    assert np.abs(jet_masses(eta, phi, pt) / exact - 1).max() < 3e-15
    single = mass_rel(*(torch.from_numpy(values) for values in (eta, phi, pt)))
    assert single.dtype == torch.float32
    assert np.abs(single.double().numpy() / exact - 1).max() < 1e-6


def test_masses_of_far_apart_constituents():
    """Widths where a mean direction as the centre would lose digits."""
    eta, phi, pt = np.array([[0.0, 15.0, 0.2]]), np.array([[0.0, 3.0, -3.0]]), np.array([[0.9, 0.01, 0.3]])
    exact = exact_mass(eta[0], phi[0], pt[0])
    assert jet_masses(eta, phi, pt)[0] == pytest.approx(exact, rel=1e-14)
    tensors = [torch.from_numpy(values) for values in (eta, phi, pt)]
    assert float(mass_rel(*tensors)) == pytest.approx(exact, rel=1e-14)
    assert float(mass_rel(*(values.float() for values in tensors))) == pytest.approx(exact, rel=1e-6)


def test_constituents_around_the_back_of_the_axis():
    eta, phi, pt = np.zeros((1, 2)), np.array([[3.1, -3.1]]), np.array([[0.5, 0.4]])
    exact = exact_mass(eta[0], phi[0], pt[0])
    assert jet_masses(eta, phi, pt)[0] == pytest.approx(exact, rel=1e-13)
    assert float(mass_rel(*map(torch.from_numpy, (eta, phi, pt)))) == pytest.approx(exact, rel=1e-13)


@given(seed=st.integers(0, 2**32 - 1), p=st.integers(2, 40), angle=st.sampled_from([0.8, 0.3]))
def test_masses_agree_with_vector_and_with_the_sum_over_pairs(seed, p, angle):
    eta, phi, pt = constituents(seed, p=p, angle=angle)
    masses = jet_masses(eta, phi, pt)
    zeros = np.zeros_like(pt)
    summed = vector.array({"pt": pt, "phi": phi, "eta": eta, "mass": zeros}).sum(axis=1)
    # E^2 - p^2 itself loses digits where the mass is small against the energy
    slack = 1e-12 + 4e-16 * p * (summed.E / masses) ** 2
    assert np.all(np.abs(summed.mass / masses - 1) < slack)
    assert np.abs(pair_mass(eta, phi, pt) / masses - 1).max() < 1e-13


def test_masses_of_the_embedded_jets_agree_with_vector():
    jets = read_jets(embedded_jets_path(), first=2000)
    momenta = four_momenta(jets, jet_pt_gev=1.0, jet_eta=0.0)
    assert np.abs(momenta.sum(axis=1).mass / jets.mass_rel - 1).max() < 1e-10
    shifted = four_momenta(jets, jet_pt_gev=1.0, jet_eta=1.7, jet_phi=3.0)
    assert np.abs(shifted.sum(axis=1).mass / jets.mass_rel - 1).max() < 1e-9
    tensors = [torch.from_numpy(values) for values in (jets.eta_rel, jets.phi_rel, jets.pt_rel)]
    assert np.abs(mass_rel(*tensors).double().numpy() / jets.mass_rel - 1).max() < 1e-6


@given(seed=st.integers(0, 2**32 - 1), boost=st.floats(-2, 2), turn=st.floats(-9, 9), factor=st.floats(0.01, 100))
def test_symmetries_of_the_mass(seed, boost, turn, factor):
    eta, phi, pt = constituents(seed)
    masses = jet_masses(eta, phi, pt)
    assert np.allclose(jet_masses(eta + boost, phi + turn, pt), masses, rtol=1e-12)
    assert np.allclose(jet_masses(-eta, -phi, pt), masses, rtol=1e-13)
    assert np.allclose(jet_masses(eta, phi + 2 * np.pi * (np.arange(12) % 3), pt), masses, rtol=1e-12)
    assert np.allclose(jet_masses(eta, phi, factor * pt), factor * masses, rtol=1e-13)
    order = np.random.default_rng(seed).permutation(12)
    assert np.allclose(jet_masses(eta[:, order], phi[:, order], pt[:, order]), masses, rtol=1e-13)


def test_the_mass_grows_with_a_common_scale_of_the_angles():
    eta, phi, pt = constituents(3, angle=0.2)
    reach = np.pi / (2 * np.abs(phi).max())
    masses = np.stack([jet_masses(s * eta, s * phi, pt) for s in np.linspace(0.0, reach, 30)])
    assert np.all(np.diff(masses, axis=0) > 0)


def test_no_mass_without_an_angle():
    pt = np.array([[0.7, 0.0, 0.0], [0.5, 0.3, 0.1], [0.0, 0.0, 0.0], [0.0, 0.0, 0.4]])
    eta, phi = np.full((4, 3), 0.1), np.full((4, 3), -0.3)
    eta[0, 1:], eta[2] = 0.0, 0.7
    assert jet_masses(eta, phi, pt).tolist() == [0.0] * 4
    tensors = [torch.from_numpy(values).requires_grad_() for values in (eta, phi, pt)]
    masses = mass_rel(*tensors)
    assert masses.abs().max() < 1e-15
    masses.sum().backward()
    assert all(torch.isfinite(values.grad).all() for values in tensors)
    assert jet_masses(np.zeros((2, 0)), np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [0.0, 0.0]


def test_empty_slots_do_not_count():
    eta, phi, pt = constituents(4)
    padded = [np.concatenate([values, np.zeros((20, 5))], axis=1) for values in (eta, phi, pt)]
    assert np.allclose(jet_masses(*padded), jet_masses(eta, phi, pt), rtol=1e-15)
    tensors = [torch.from_numpy(values) for values in padded]
    assert np.allclose(mass_rel(*tensors).numpy(), jet_masses(eta, phi, pt), rtol=1e-14)


def test_gradients():
    tensors = [torch.from_numpy(values).requires_grad_() for values in constituents(5, n=3, p=5)]
    assert torch.autograd.gradcheck(mass_rel, tensors)
    assert torch.autograd.gradgradcheck(mass_squared_rel, tensors)


def test_gradients_agree_with_those_of_the_sum_over_pairs():
    tensors = [torch.from_numpy(values).requires_grad_() for values in constituents(6, angle=1e-3)]
    found = torch.autograd.grad(mass_rel(*tensors).sum(), tensors)
    eta, phi, pt = tensors
    x, y = eta[:, :, None] - eta[:, None], phi[:, :, None] - phi[:, None]
    terms = pt[:, :, None] * pt[:, None] * (2 * (x / 2).sinh() ** 2 + 2 * (y / 2).sin() ** 2)
    wanted = torch.autograd.grad(terms.sum(dim=(1, 2)).sqrt().sum(), tensors)
    for first, second in zip(found, wanted, strict=True):
        assert torch.allclose(first, second, rtol=1e-10, atol=1e-12)


def test_memory_grows_with_the_constituents_not_their_pairs():
    tensors = [torch.from_numpy(values).requires_grad_() for values in constituents(7, n=4, p=150)]
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: sizes.append(saved.numel()) or saved, lambda s: s):
        mass_rel(*tensors)
    assert max(sizes) == 4 * 150


def test_any_number_of_leading_dimensions():
    eta, phi, pt = (torch.from_numpy(values) for values in constituents(8))
    folded = mass_rel(*(values.reshape(4, 5, 12) for values in (eta, phi, pt)))
    assert torch.equal(folded.reshape(-1), mass_rel(eta, phi, pt))
    assert mass_rel(eta[0], phi[0], pt[0]).shape == ()


# --- absolute and relative coordinates


def test_differences_of_azimuths_are_wrapped():
    eta, phi, pt = relative_constituents(
        [50.0, 25.0], [1.1, 0.9], [3.1, -3.1], jet_pt=100.0, jet_eta=1.0, jet_phi=[-3.1, 3.1]
    )
    assert np.allclose(phi, [6.2 - 2 * np.pi, 2 * np.pi - 6.2])
    assert np.allclose(eta, [0.1, -0.1])
    assert np.allclose(pt, [0.5, 0.25])


@given(seed=st.integers(0, 2**32 - 1))
def test_absolute_and_back(make_jets, seed):
    jets = make_jets(10, seed=seed)
    momenta = four_momenta(jets)
    assert np.all(np.abs(momenta.phi) <= np.pi)
    assert np.array_equal(momenta.pt > 0, jets.mask)
    assert np.all(momenta.mass == 0)
    axis = {name: getattr(jets, field)[:, None] for name, field in
            (("jet_pt", "jet_pt_gev"), ("jet_eta", "jet_eta"), ("jet_phi", "jet_phi"))}  # fmt: skip
    again = relative_constituents(momenta.pt, momenta.eta, momenta.phi, **axis)
    for values, name in zip(again, ("eta_rel", "phi_rel", "pt_rel"), strict=True):
        assert np.allclose(values[jets.mask], getattr(jets, name)[jets.mask], rtol=0, atol=1e-15 * 20), name
    masses = momenta.sum(axis=1).mass
    assert np.allclose(masses, jets.mass_rel * jets.jet_pt_gev, rtol=1e-6, atol=1e-4)


def test_the_axis_may_be_given(make_jets):
    jets = make_jets(4, features=False)
    momenta = four_momenta(jets, jet_pt_gev=500.0, jet_eta=np.array([0.0, 1.0, 2.0, 3.0]), jet_phi=1.0)
    assert np.allclose(momenta.pt, 500.0 * jets.pt_rel.astype(np.float64))
    assert np.allclose((momenta.eta - jets.eta_rel)[:, 0], [0.0, 1.0, 2.0, 3.0])
    assert np.allclose((momenta.phi - jets.phi_rel)[:, 0], 1.0)
    assert np.allclose((four_momenta(jets, jet_pt_gev=500.0, jet_eta=0.0).phi - jets.phi_rel)[:, 0], 0.0)


def test_an_unknown_axis_is_an_error(make_jets):
    jets = make_jets(4, features=False)
    with pytest.raises(DataError, match=r"jet_pt_gev of these jets is unknown[\s\S]*pass jet_pt_gev="):
        four_momenta(jets)
    with pytest.raises(DataError, match="jet_eta of these jets is unknown"):
        four_momenta(jets, jet_pt_gev=500.0)
    with pytest.raises(DataError, match=r"jet_eta: wrong shape[\s\S]*a number or \(4,\)"):
        four_momenta(jets, jet_pt_gev=500.0, jet_eta=[1.0, 2.0])
