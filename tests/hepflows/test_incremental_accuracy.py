"""Exactness of whole flows on trained weights: float64 against the plain loop, float32 against the loop in float32."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.density import density_with_residual
from hepflows.flow import ConditionalFlow, ConditionalNormal
from hepflows.incremental import solve_by_passes
from hepflows.incremental_torch import solve_with_torch
from hepflows.permutations import Permutation
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from torch import Tensor

D = 24
SPLINE = SplineSettings(bins=8, bound=8.0)


def chain(cls: type[MaskedAutoregressive | InverseAutoregressive], features: int, blocks: int) -> ConditionalFlow:
    parts: list[torch.nn.Module] = []
    for block in range(blocks):
        kind = ("even", "sequential")[block % 2]
        parts += [cls(features, 1, [32, 20], SPLINE, degrees=kind), Permutation(torch.randperm(features))]
    return ConditionalFlow(parts)


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Skewed, correlated and bimodal features that follow a context."""
    generator = torch.Generator().manual_seed(seed)
    context = torch.rand(count, 1, generator=generator)
    noise = torch.randn(count, D, generator=generator)
    x = noise.cumsum(1) / torch.arange(1, D + 1).sqrt() + context
    x[:, ::3] = (0.7 * x[:, ::3]).exp() - 1.5
    x[:, 1::4] += 3 * torch.where(noise[:, :1] > 0, 1.0, -1.0)
    return x, context


@pytest.fixture(scope="module", params=[MaskedAutoregressive, InverseAutoregressive])
def trained(request: pytest.FixtureRequest) -> ConditionalFlow:
    """A MAF trained by likelihood, or an IAF with its weights: both have strongly bent splines."""
    torch.manual_seed(1)
    flow = chain(MaskedAutoregressive, D, 3)
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2)
    first, last = 0.0, 0.0
    for step in range(80):
        x, context = data(200, step)
        loss = -flow.log_prob(x, context).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = first or loss.item(), loss.item()
    assert last < first - 5, "the training should have bent the splines"
    chosen = chain(request.param, D, 3)
    chosen.load_state_dict(flow.state_dict())
    return chosen.eval().requires_grad_(False)


def by_passes(flow: ConditionalFlow, given: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """The slow direction of every block by D passes: sampling a MAF, the density of an IAF."""
    samples = isinstance(flow.transforms[0], MaskedAutoregressive)
    log_det = given.new_zeros(len(given))
    for part in reversed(flow.transforms) if samples else flow.transforms:
        if isinstance(part, Permutation):
            given, _ = part.inverse(given) if samples else part(given)
        else:
            given, part_log_det = solve_by_passes(part.made, given, context, part.spline, inverse=samples)
            log_det = log_det + part_log_det
    return given, log_det


def in_one_pass(flow: ConditionalFlow, given: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    samples = isinstance(flow.transforms[0], MaskedAutoregressive)
    return flow.inverse(given, context) if samples else flow(given, context)


def in_torch(flow: ConditionalFlow, given: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    samples = isinstance(flow.transforms[0], MaskedAutoregressive)
    log_det = given.new_zeros(len(given))
    for part in reversed(flow.transforms) if samples else flow.transforms:
        if isinstance(part, Permutation):
            given, _ = part.inverse(given) if samples else part(given)
        else:
            given, part_log_det = solve_with_torch(part.made, given, context, part.spline, inverse=samples)
            log_det = log_det + part_log_det
    return given, log_det


def arguments(flow: ConditionalFlow, count: int) -> tuple[Tensor, Tensor]:
    x, context = data(count, 1000)
    if isinstance(flow.transforms[0], MaskedAutoregressive):
        return torch.randn(count, D, generator=torch.Generator().manual_seed(2)), context
    return x, context


@pytest.mark.parametrize("one_pass", [in_one_pass, in_torch])
def test_double_precision(trained: ConditionalFlow, one_pass) -> None:
    flow = copy.deepcopy(trained).double()
    given, context = (tensor.double() for tensor in arguments(trained, 500))
    v, log_det = one_pass(flow, given, context)
    expected, expected_log_det = by_passes(flow, given, context)
    assert (expected - given).abs().mean() > 0.5, "the flow should not be near the identity"
    torch.testing.assert_close(v, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("one_pass", [in_one_pass, in_torch])
def test_single_precision_errs_at_most_twice_as_much_as_the_loop(trained: ConditionalFlow, one_pass) -> None:
    given, context = arguments(trained, 4500)
    truth, true_log_det = in_one_pass(copy.deepcopy(trained).double(), given.double(), context.double())
    assert truth.numel() >= 100_000
    ours, theirs = one_pass(trained, given, context), by_passes(trained, given, context)
    for exact, a, b in zip((truth, true_log_det), ours, theirs, strict=True):
        errors = [(found.double() - exact).abs().flatten() for found in (a, b)]
        for share in (0.5, 0.999):
            one, loop = (error.quantile(share) for error in errors)
            assert one <= 2 * loop


def test_density_is_exact_and_says_so(trained: ConditionalFlow) -> None:
    """log p of a sample follows from its noise; the residual measures how well the flow inverts itself."""
    flow = copy.deepcopy(trained).double()
    noise = torch.randn(300, D, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    context = data(300, 5)[1].double()
    x, log_det = flow.inverse(noise, context)
    found = density_with_residual(flow, x, context)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum(-1) - log_det
    torch.testing.assert_close(found.log_prob, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.log_prob, flow.log_prob(x, context))
    assert found.residual.shape == (300,)
    assert found.residual.max() < 1e-9
    single = density_with_residual(trained, x.float(), context.float())
    assert single.residual.median() > 10 * found.residual.median()


def test_the_residual_finds_an_inverse_that_is_none() -> None:
    class Wrong(torch.nn.Module):
        def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return 2 * x, x.new_zeros(len(x))

        def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return z / 2 + torch.tensor([0.0, 0.25, 0.0]), z.new_zeros(len(z))

    base = ConditionalNormal(3, 1)
    found = density_with_residual(ConditionalFlow([Wrong()], base), torch.randn(4, 3), torch.zeros(4, 1))
    torch.testing.assert_close(found.residual, torch.full((4,), 0.25))
    assert found.log_prob.shape == (4,)


@given(
    seed=st.integers(0, 2**31),
    features=st.integers(1, 20),
    blocks=st.integers(1, 3),
    sampling=st.booleans(),
    count=st.sampled_from([0, 1, 40]),
)
@settings(max_examples=25, deadline=None)
def test_any_permutations_between_blocks(seed: int, features: int, blocks: int, sampling: bool, count: int) -> None:
    torch.manual_seed(seed)
    flow = chain(MaskedAutoregressive if sampling else InverseAutoregressive, features, blocks).double().eval()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    given, context = 2 * torch.randn(count, features).double(), torch.randn(count, 1).double()
    with torch.no_grad():
        ours, theirs = in_one_pass(flow, given, context), by_passes(flow, given, context)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
