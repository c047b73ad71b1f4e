"""Chains of blocks, coupling blocks, permutations and base densities."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.errors import ConfigError
from hepflows.flow import ConditionalFlow, ConditionalNormal
from hepflows.permutations import Permutation, reverse, within_groups
from hepflows.splines import SplineSettings


def _randomise(module: torch.nn.Module, seed: int, spread: float = 0.2) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


def _coupling(features: int, context: int, blocks: int = 4, base: torch.nn.Module | None = None) -> ConditionalFlow:
    generator = torch.Generator().manual_seed(0)
    make = partial(SplineCoupling, features, context, SplineSettings(bound=5.0), width=16)
    parts = coupling_blocks(features, make, blocks=blocks, generator=generator)
    flow = ConditionalFlow(parts, base).double()
    _randomise(flow, 1)
    return flow.eval()


@given(features=st.integers(2, 9), context=st.integers(0, 2), blocks=st.integers(2, 4))
@settings(deadline=None, max_examples=25)
def test_coupling_round_trip(features: int, context: int, blocks: int) -> None:
    flow = _coupling(features, context, blocks)
    x = torch.randn(20, features, dtype=torch.float64)
    c = torch.randn(20, context, dtype=torch.float64) if context else None
    z, log_det = flow(x, c)
    back, inverse_log_det = flow.inverse(z, c)
    torch.testing.assert_close(back, x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(log_det, -inverse_log_det, rtol=1e-7, atol=1e-8)


def test_coupling_log_determinant_and_reach() -> None:
    flow = _coupling(5, 1)
    x, c = torch.randn(5, dtype=torch.float64), torch.randn(1, 1, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None], c)[0][0], x)
    log_det = flow(x[None], c)[1]
    assert log_det.item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-9)
    untouched = torch.eye(5, dtype=torch.float64)
    assert not any(torch.equal(row, unit) for row in jacobian for unit in untouched), "a feature passes unchanged"


@pytest.mark.parametrize("base", [None, ConditionalNormal(2, 1)])
def test_conditional_density_is_normalised(base: torch.nn.Module | None) -> None:
    flow = _coupling(2, 1, blocks=3, base=base)
    axis = torch.linspace(-8, 8, 321, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for value in (-1.0, 2.0):
        with torch.no_grad():
            density = flow.log_prob(grid, torch.full((len(grid), 1), value, dtype=torch.float64)).exp()
        integral = torch.trapezoid(torch.trapezoid(density.view(321, 321), axis), axis)
        assert float(integral) == pytest.approx(1.0, abs=2e-3)


def test_conditional_base_is_its_own_density() -> None:
    base = ConditionalNormal(3, 2).double()
    _randomise(base, 4)
    c = torch.randn(1, 2, dtype=torch.float64)
    mean, log_std = base.network(c).chunk(2, dim=-1)
    z = torch.randn(7, 3, dtype=torch.float64)
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(base.log_prob(z, c.expand(7, -1)), expected)
    noise = torch.zeros(1, 3, dtype=torch.float64)
    torch.testing.assert_close(base.from_noise(noise, c), mean)


def test_sample_has_the_density_it_states() -> None:
    flow = _coupling(2, 0, blocks=2)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(20_000, 2, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        sample = flow.sample(noise)
        entropy = -flow.log_prob(sample).mean()
        axis = torch.linspace(-8, 8, 321, dtype=torch.float64)
        log_density = flow.log_prob(torch.cartesian_prod(axis, axis)).view(321, 321)
    expected = -torch.trapezoid(torch.trapezoid(log_density.exp() * log_density, axis), axis)
    assert float(entropy) == pytest.approx(float(expected), abs=0.05)


@pytest.mark.parametrize(("cls", "name"), [(MaskedAutoregressive, "teacher"), (InverseAutoregressive, "student")])
def test_traces_list_states_from_data_to_latent(cls: type[MaskedAutoregressive], name: str) -> None:
    blocks: list[torch.nn.Module] = []
    for block in range(3):
        blocks.append(cls(4, 1, [8], SplineSettings()))
        if block < 2:
            blocks.append(Permutation(reverse(4)))
    flow = ConditionalFlow(blocks).double().eval()
    _randomise(flow, 5)
    x, c = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 1, dtype=torch.float64)
    with torch.no_grad():
        z, _ = flow(x, c)
        trace = flow.trace_forward(x, c) if name == "teacher" else flow.trace_inverse(z, c)
    torch.testing.assert_close(trace.states[0], x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(trace.states[-1], z, rtol=1e-8, atol=1e-8)
    behind_first, _ = flow.transforms[0](x, c)
    torch.testing.assert_close(trace.states[1], behind_first, rtol=1e-8, atol=1e-8)
    assert len(trace.parameters) == 3
    if name == "teacher":
        torch.testing.assert_close(trace.parameters[0], flow.transforms[0].made(x, c))
    else:
        torch.testing.assert_close(trace.parameters[2], flow.transforms[4].made(z, c))


def test_permutations_stay_within_their_groups_and_survive_saving() -> None:
    generator = torch.Generator().manual_seed(1)
    index = within_groups([4, 3, 5], generator)
    for start, stop in [(0, 4), (4, 7), (7, 12)]:
        assert sorted(index[start:stop].tolist()) == list(range(start, stop))
    assert within_groups([2, 3], None).tolist() == [1, 0, 4, 3, 2]
    saved = Permutation(index)
    loaded = Permutation(torch.arange(12))
    loaded.load_state_dict(saved.state_dict())
    x = torch.randn(2, 12)
    torch.testing.assert_close(loaded.inverse(saved(x)[0])[0], x)


def test_impossible_couplings_are_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(ConfigError, match="two features"):
        SplineCoupling(1, 0, SplineSettings(), width=4)
    with pytest.raises(ConfigError, match="two blocks"):
        coupling_blocks(4, partial(SplineCoupling, 4, 0, SplineSettings(), width=4), blocks=1, generator=generator)
