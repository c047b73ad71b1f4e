"""The mass of a constrained jet is the condition, for every jet; pT, order and direction stay."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows.errors import ConditionError
from jetgen.mass_constraint import STEPS, TOLERANCE, constrain_mass, require_reached
from jetgen.mass_correction import correct_mass

KINDS = ("plain", "far", "soft", "wide", "line", "point pairs")


def pair_mass(eta, phi, pt):
    """Independent of the code under test: float64 sums over pairs, without cancellation."""
    eta, phi, pt = (values.detach().double() for values in (eta, phi, pt))
    d_eta = eta[:, :, None] - eta[:, None]
    d_phi = phi[:, :, None] - phi[:, None]
    terms = 2 * torch.sinh(d_eta / 2) ** 2 + 2 * torch.sin(d_phi / 2) ** 2
    return (pt[:, :, None] * pt[:, None] * terms).sum((1, 2)).sqrt()


def random_jets(n, slots, kind, seed, dtype=torch.float64, least=2):
    """Jets of all multiplicities from `least`, their empty slots filled with rubbish."""
    rng = torch.Generator().manual_seed(seed)
    draw = {"generator": rng, "dtype": torch.float64}
    eta, phi = 0.1 * torch.randn(n, slots, **draw), 0.1 * torch.randn(n, slots, **draw)
    eta = eta * torch.exp(2 * torch.randn(n, 1, **draw))
    pt = torch.rand(n, slots, **draw) ** 3 + 1e-4
    if kind == "far":
        eta, phi = 1e-2 * eta + 1, 1e-2 * phi - 0.5
    if kind == "soft":
        pt[:, 1:] *= 1e-4
    if kind == "wide":
        eta, phi = 30 * eta, 10 * phi
    if kind == "line":
        phi = torch.zeros_like(phi)
    if kind == "point pairs":
        eta[:, 1:], phi[:, 1:] = eta[:, 1:2], phi[:, 1:2]
    mask = torch.arange(slots) < torch.randint(least, slots + 1, (n, 1), generator=rng)
    pt = pt / torch.where(mask, pt, torch.zeros_like(pt)).sum(1, keepdim=True)
    mass = torch.exp(torch.empty(n, dtype=torch.float64).uniform_(math.log(1e-6), math.log(0.7), generator=rng))
    eta, phi, pt, mass = (values.to(dtype) for values in (eta, phi, pt, mass))
    return eta, phi, pt, mask, mass


def relative_error(result, pt, mask, mass):
    eta, phi, _ = result
    found = pair_mass(eta, phi, torch.where(mask, pt, torch.zeros_like(pt)))
    return (found - mass.double()).abs() / mass.double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", [2, 3, 4, 5, 30, 150])
@pytest.mark.parametrize("correction", [False, True])
def test_mass_is_exact(slots, kind, dtype, correction):
    eta, phi, pt, mask, mass = random_jets(400 if slots < 100 else 60, slots, kind, seed=slots, dtype=dtype)
    if correction:
        eta, phi = correct_mass(eta, phi, pt, mask, mass)
        assert (eta[~mask] == 0).all()
    result = constrain_mass(eta, phi, pt, mask, mass)
    assert float(relative_error(result, pt, mask, mass).max()) <= TOLERANCE[dtype]
    assert float(result[1].abs().max()) <= math.pi
    # the number of steps has room: two fewer do as well
    error = relative_error(constrain_mass(eta, phi, pt, mask, mass, steps=STEPS - 2), pt, mask, mass)
    assert float(error.max()) <= TOLERANCE[dtype]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-0.625, 0.625, width=32, allow_subnormal=False),
            st.floats(-0.625, 0.625, width=32, allow_subnormal=False),
            st.floats(2.0**-20, 1.0, width=32),
        ),
        min_size=2,
        max_size=8,
    ),
    st.floats(1e-4, 0.5),
)
def test_mass_is_exact_for_any_jet(constituents, mass):
    eta, phi, pt = torch.tensor(constituents, dtype=torch.float32).T[:, None]
    pt = pt / pt.sum()
    mask = torch.ones_like(pt, dtype=torch.bool)
    wanted = torch.tensor([mass], dtype=torch.float32)
    for angles in ((eta, phi), correct_mass(eta, phi, pt, mask, wanted)):
        new_eta, new_phi, _ = constrain_mass(*angles, pt, mask, wanted)
        error = relative_error((new_eta, new_phi, None), pt, mask, wanted)
        assert torch.isfinite(new_eta).all()
        assert torch.isfinite(new_phi).all()
        assert float(error) <= 1e-5


def test_phi_stops_at_back_to_back_and_eta_goes_on():
    eta = torch.tensor([[0.01, -0.01]], dtype=torch.float64)
    phi = torch.tensor([[0.1, -0.1]], dtype=torch.float64)
    pt = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    mask = torch.ones(1, 2, dtype=torch.bool)
    wanted = torch.tensor([1.5], dtype=torch.float64)  # back to back in phi alone it would be 1
    new_eta, new_phi, scale = constrain_mass(eta, phi, pt, mask, wanted)
    assert float(new_phi[0, 0] - new_phi[0, 1]) == pytest.approx(math.pi, rel=1e-5)
    assert float(new_eta[0, 0] / eta[0, 0]) == pytest.approx(float(scale[0]), rel=1e-9)
    assert float(pair_mass(new_eta, new_phi, pt)) == pytest.approx(1.5, rel=1e-10)


def test_mass_grows_with_the_scale():
    eta, phi, pt, mask, mass = random_jets(500, 6, "plain", seed=3)
    scales = torch.stack([constrain_mass(eta, phi, pt, mask, factor * mass)[2] for factor in (0.5, 0.9, 1.0, 1.2)])
    assert (scales[1:] > scales[:-1]).all()


def test_own_mass_leaves_a_jet_alone():
    eta, phi, pt, mask, _ = random_jets(400, 12, "plain", seed=4, least=5)
    eta, phi = torch.where(mask, phi.flip(0), torch.zeros_like(eta)), torch.where(mask, phi, torch.zeros_like(phi))
    pt = torch.where(mask, pt, torch.zeros_like(pt))
    new_eta, new_phi, scale = constrain_mass(eta, phi, pt, mask, pair_mass(eta, phi, pt))
    torch.testing.assert_close(scale, torch.ones_like(scale), rtol=1e-9, atol=0)
    torch.testing.assert_close(new_eta, eta, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(new_phi, phi, rtol=1e-8, atol=1e-12)


def test_empty_slots_are_zero_and_do_not_matter():
    eta, phi, pt, mask, mass = random_jets(200, 8, "plain", seed=5)
    first = constrain_mass(eta, phi, pt, mask, mass)
    rubbish = torch.where(mask, torch.zeros_like(eta), torch.full_like(eta, 77.0))
    second = constrain_mass(eta + rubbish, phi - rubbish, pt + rubbish, mask, mass)
    for one, two in zip(first, second, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert (first[0][~mask] == 0).all()
    assert (first[1][~mask] == 0).all()


def test_one_constituent_and_mass_zero():
    eta = torch.tensor([[0.2, 0.0], [0.2, -0.1]])
    phi = torch.tensor([[0.1, 0.0], [0.1, 0.3]])
    pt = torch.tensor([[0.9, 0.0], [0.5, 0.4]])
    mask = torch.tensor([[True, False], [True, True]])
    new_eta, new_phi, scale = constrain_mass(eta, phi, pt, mask, torch.tensor([0.1, 0.0]))
    assert new_eta[0].tolist() == pytest.approx([0.2, 0.0])  # a single constituent stays where it is
    assert (new_eta[1, 0], new_phi[1, 0]) == (new_eta[1, 1], new_phi[1, 1])  # mass 0: collinear
    assert scale.tolist() == [1.0, 0.0]
    found = pair_mass(new_eta, new_phi, pt)
    with pytest.raises(ConditionError, match=r"mass_rel\[5\][\s\S]*mass 0 of a single"):
        require_reached(found[:1], torch.tensor([0.1]), mask[:1].sum(1), first_event=5)
    require_reached(found[1:2], torch.tensor([0.0]), mask[1:2].sum(1))
    with pytest.raises(ConditionError, match="multiplicity 2"):
        require_reached(found[1:2], torch.tensor([0.1]), mask[1:2].sum(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("at", [(0.1, 0.2), (5.0, -3.0), (0.0, 0.0)])
@pytest.mark.parametrize("slots", [2, 3, 30])
def test_constituents_at_one_point_are_pulled_apart(slots, at, dtype):
    """A network whose outputs saturate puts all of them at the end of its range."""
    pt = torch.rand(50, slots, generator=torch.Generator().manual_seed(slots), dtype=dtype) + 0.01
    pt = (pt / pt.sum(1, keepdim=True)).sort(1, descending=True).values
    mask = torch.arange(slots) < torch.arange(50)[:, None] % (slots - 1) + 2
    eta, phi = (torch.full_like(pt, value) for value in at)
    mass = torch.linspace(1e-4, 0.7, 50, dtype=dtype)
    for angles in ((eta, phi), correct_mass(eta, phi, pt, mask, mass)):
        result = constrain_mass(*angles, pt, mask, mass)
        assert float(relative_error(result, pt, mask, mass).max()) <= TOLERANCE[dtype]
        assert float(result[0].abs().max()) <= 20
        assert float(result[1].abs().max()) <= math.pi


def test_jets_far_out_are_brought_back():
    eta = torch.tensor([[19.0, 19.5, 18.0]])
    phi, pt, mask = torch.zeros(1, 3), torch.tensor([[0.5, 0.3, 0.2]]), torch.ones(1, 3, dtype=torch.bool)
    new_eta, new_phi, _ = constrain_mass(eta, phi, pt, mask, torch.tensor([0.5]))
    assert float((pt * new_eta).sum()) == pytest.approx(math.pi, rel=1e-5)
    assert float(pair_mass(new_eta, new_phi, pt)) == pytest.approx(0.5, rel=1e-5)


def test_constituents_that_differ_in_phi_alone_have_any_mass():
    eta, phi = torch.zeros(2, 2), torch.tensor([[0.0, 0.01], [0.0, 0.01]])
    pt, mask = torch.tensor([[0.9, 0.001]] * 2), torch.ones(2, 2, dtype=torch.bool)
    largest = 2 * math.sqrt(0.9 * 0.001)  # back to back in phi
    wanted = torch.tensor([0.2, 0.9 * largest])
    new_eta, new_phi, _ = constrain_mass(eta, phi, pt, mask, wanted)
    torch.testing.assert_close(pair_mass(new_eta, new_phi, pt).to(wanted.dtype), wanted, rtol=1e-5, atol=0)
    assert float((new_eta[1, 0] - new_eta[1, 1]).abs()) < 0.01  # phi alone decides where it can
    assert float((new_phi[1, 0] - new_phi[1, 1]).abs()) > 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [0.0, 1e-8, 1e-4])
def test_masses_just_above_that_of_back_to_back_particles(spread, dtype):
    """The mass hardly grows there: phi has stopped and eta has not begun."""
    above = torch.logspace(-7, 0, 300, dtype=dtype)
    mass = 2 * math.sqrt(0.21) * (1 + above)
    pt = torch.tensor([[0.7, 0.3]], dtype=dtype).expand(300, 2)
    eta = torch.tensor([[0.0, spread]], dtype=dtype).expand(300, 2)
    phi = torch.tensor([[0.0, 0.3]], dtype=dtype).expand(300, 2)
    mask = torch.ones(300, 2, dtype=torch.bool)
    result = constrain_mass(eta, phi, pt, mask, mass)
    # the mass has its maximum in phi there, and Newton steps halve the distance only
    assert float(relative_error(result, pt, mask, mass).max()) <= max(TOLERANCE[dtype], 1e-9)


def test_an_angle_that_does_not_exist_is_named():
    pt, mask = torch.tensor([[1.0, 1e-18]], dtype=torch.float64), torch.ones(1, 2, dtype=torch.bool)
    eta, phi = torch.tensor([[0.0, 0.1]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    new_eta, new_phi, _ = constrain_mass(eta, phi, pt, mask, torch.tensor([0.9], dtype=torch.float64))
    found = pair_mass(new_eta, new_phi, pt)
    assert torch.isfinite(found).all()
    with pytest.raises(ConditionError, match="at most"):
        require_reached(found, torch.tensor([0.9]), mask.sum(1))


def test_gradients_are_those_of_the_solution():
    eta, phi, pt, _, _ = random_jets(4, 5, "plain", seed=6, least=5)
    mask = torch.tensor([[True] * 5] * 3 + [[True] * 3 + [False] * 2])
    eta = 0.2 * eta / eta.abs().amax(1, keepdim=True)
    mass = torch.tensor([0.05, 0.1, 0.2, 0.3], dtype=torch.float64)
    inputs = [values.clone().requires_grad_() for values in (eta, phi, pt, mass)]
    assert torch.autograd.gradcheck(lambda a, b, c, d: constrain_mass(a, b, c, mask, d), inputs)


def test_mass_agrees_with_the_masses_of_the_data_layer():
    from jetgen.mass_kernel import jet_masses

    eta, phi, pt, mask, mass = random_jets(300, 30, "plain", seed=8, dtype=torch.float32)
    new_eta, new_phi, _ = constrain_mass(eta, phi, pt, mask, mass)
    pt = torch.where(mask, pt, torch.zeros_like(pt))
    found = jet_masses(new_eta.numpy(), new_phi.numpy(), pt.numpy())
    np.testing.assert_allclose(found, mass.double().numpy(), rtol=1e-5)
