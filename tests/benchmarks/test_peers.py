"""The compared flows are the same functions, and a part of the naive passes stands for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks.architecture import Autoregressive, Coupling, autoregressive_flow, coupling_flow, first_block, inputs
from benchmarks.peers import PEERS, PeerFlow, load_peers
from benchmarks.sampling import extrapolation
from hepflows.errors import ConfigError
from hepflows.splines import SplineSettings, portable_rational_quadratic

SHAPE = Autoregressive(features=7, blocks=3, hidden=(12, 12), context=3)
JETS = Coupling(features=7, blocks=3, width=10)
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepflows.flow import ConditionalFlow

KINDS = ("teacher", "student")


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    """Weights are made, and copied, in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def peer_named(name: str) -> Any:
    pytest.importorskip(name)
    return load_peers([name])[0][name]


def compare(ours: ConditionalFlow, theirs: PeerFlow, context_features: int) -> None:
    """Samples and densities agree in float64."""
    noise, context = inputs(7, context_features, 20, seed=2)
    noise = 2 * noise
    with torch.no_grad():
        torch.testing.assert_close(theirs.sample(noise, context), ours.sample(noise, context), rtol=1e-9, atol=1e-8)
        # nflows adds its minimal sizes in another order
        torch.testing.assert_close(theirs.log_prob(noise, context), ours.log_prob(noise, context), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_nflows_has_our_weights(kind: Any) -> None:
    ours = autoregressive_flow(SHAPE, kind, seed=1)
    theirs = peer_named("nflows").autoregressive(ours, SHAPE, kind)
    assert theirs.same_weights
    compare(ours, theirs, SHAPE.context)


@pytest.mark.parametrize("name", ["nflows", "normflows"])
def test_coupling_flows_have_our_weights(name: str) -> None:
    ours = coupling_flow(JETS, seed=1)
    theirs = peer_named(name).coupling(ours, JETS)
    assert theirs.same_weights
    compare(ours, theirs, 0)


def test_other_degrees_are_not_said_to_be_equal() -> None:
    shape = Autoregressive(features=7, blocks=2, hidden=(5, 5), context=3, degrees="even")
    ours = autoregressive_flow(shape, "teacher", seed=1)
    assert not peer_named("nflows").autoregressive(ours, shape, "teacher").same_weights


def test_widths_that_nflows_cannot_have_are_refused() -> None:
    shape = Autoregressive(features=7, blocks=1, hidden=(5, 6))
    with pytest.raises(ConfigError, match="one width"):
        peer_named("nflows").autoregressive(autoregressive_flow(shape, "teacher", seed=1), shape, "teacher")


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_density_that_is_timed(name: str, kind: Any) -> None:
    """Change of variables: log p(x) = log N(z) - log |dx/dz|, the Jacobian by autograd through the sampling."""
    theirs = peer_named(name).autoregressive(autoregressive_flow(SHAPE, kind, seed=1), SHAPE, kind)
    noise, context = inputs(7, SHAPE.context, 1, seed=3)
    jacobian = torch.autograd.functional.jacobian(lambda z: theirs.sample(z, context), noise)[0, :, 0]
    base = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum()
    with torch.no_grad():
        density = theirs.log_prob(theirs.sample(noise, context), context)
    torch.testing.assert_close(density[0], base - torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("kind", KINDS)
def test_all_passes_of_a_block_are_its_inverse(name: str, kind: Any) -> None:
    """Of a flow of one block, D passes give what the library's own slow direction gives."""
    one = Autoregressive(features=7, blocks=1, hidden=(12, 12), context=3)
    torch.manual_seed(1)  # of weights that a library draws itself: few may lead past all units of so small a network
    theirs = peer_named(name).autoregressive(autoregressive_flow(one, kind, seed=1), one, kind)
    values, context = inputs(7, 3, 9, seed=4)
    with torch.no_grad():
        found = theirs.passes(values, context, 7)
        if kind == "teacher":
            torch.testing.assert_close(found, theirs.sample(values, context))
        else:
            torch.testing.assert_close(theirs.sample(found, context), values, rtol=1e-9, atol=1e-8)
        fewer = theirs.passes(values, context, 3)
    # After k passes the first k dimensions are solved
    torch.testing.assert_close(fewer[:, :3], found[:, :3])
    assert not torch.equal(fewer, found)


@pytest.mark.parametrize("passes", [1, 3, 7])
def test_extrapolated_work_is_that_of_the_whole_inverse(passes: int) -> None:
    """Counted in evaluations of masked networks, which all cost the same."""
    ours = autoregressive_flow(SHAPE, "teacher", seed=1)
    nflows = peer_named("nflows")
    counts = []
    values, context = inputs(7, SHAPE.context, 5, seed=4)
    whole = nflows.autoregressive(ours, SHAPE, "teacher")
    one = Autoregressive(**{**vars(SHAPE), "blocks": 1})
    part = nflows.autoregressive(first_block(ours), one, "teacher")
    for flow, work in (
        (whole, lambda: whole.sample(values, context)),
        (part, lambda: part.passes(values, context, passes)),
    ):
        calls = []
        for module in flow.module.modules():
            if type(module).__name__ == "MADE":
                module.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        with torch.no_grad():
            work()
        counts.append(len(calls))
    assert counts[1] == passes
    assert counts[1] * extrapolation(SHAPE, passes) == counts[0] == 7 * 3


@pytest.mark.parametrize("name", PEERS)
def test_architectures_have_the_same_weights_in_number(name: str) -> None:
    """Weight matrices of the masked networks; biases of the context differ."""
    ours = autoregressive_flow(SHAPE, "teacher", seed=1)
    theirs = peer_named(name).autoregressive(ours, SHAPE, "teacher")
    context = 0 if name == "normflows" else SHAPE.context * SHAPE.hidden[0] * SHAPE.blocks
    matrices = (7 * 12 + 12 * 12 + 12 * 7 * 23) * SHAPE.blocks + context
    assert sum(p.numel() for p in theirs.module.parameters() if p.ndim == 2) == matrices


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("inverse", [False, True])
def test_splines_take_raw_parameters(name: str, inverse: bool) -> None:
    settings = SplineSettings(bins=5, bound=3.0)
    spline = peer_named(name).spline(settings)
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.randn(50, generator=generator, dtype=torch.float64)
    raw = torch.randn(50, settings.n_parameters, generator=generator, dtype=torch.float64)
    y, log_derivative = spline(x, raw, inverse)
    back, log_back = spline(y, raw, not inverse)
    torch.testing.assert_close(back, x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(log_back, -log_derivative, rtol=1e-6, atol=1e-6)
    if name != "zuko":  # it has its own parametrisation
        shifted = raw.clone()
        shifted[:, 10:] -= torch.tensor(1 - settings.min_derivative, dtype=torch.float64).expm1().log()
        expected = portable_rational_quadratic(x, shifted, settings, inverse=inverse)
        torch.testing.assert_close((y, log_derivative), expected, rtol=1e-6, atol=1e-6)


def test_libraries_that_are_missing_are_named() -> None:
    found, missing = load_peers(["nflows", "no_such_library"])
    assert list(found) == ["nflows"]
    assert missing["no_such_library"].startswith("not installed")
