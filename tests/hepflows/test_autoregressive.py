"""Masked networks and autoregressive blocks: masks, Jacobians, normalisation, nflows and zuko as oracles."""

from __future__ import annotations

import pytest
import torch
import zuko
from hypothesis import given, settings
from hypothesis import strategies as st
from nflows.transforms.autoregressive import (
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform as NflowsMAF,
)

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.errors import ConfigError
from hepflows.made import MADE, hidden_degrees
from hepflows.splines import SplineSettings, identity_slope, rational_quadratic

CLASSES = [MaskedAutoregressive, InverseAutoregressive]


def _randomise(module: torch.nn.Module, seed: int, spread: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


@given(features=st.integers(1, 7), width=st.integers(1, 9), depth=st.integers(1, 3), data=st.data())
@settings(deadline=None, max_examples=40)
def test_output_depends_on_earlier_inputs_only(features: int, width: int, depth: int, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["even", "sequential"]))
    made = MADE(features, 2, [width] * depth, 3, degrees=kind).double().eval()
    _randomise(made, 1)
    x, context = torch.randn(features, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: made(v[None], context)[0].sum(-1), x)
    assert torch.equal(jacobian, jacobian.tril(-1))


def test_even_degrees_use_every_input_and_sequential_ones_leave_the_last_out() -> None:
    even, sequential = hidden_degrees(504, 378, "even"), hidden_degrees(504, 378, "sequential")
    assert (even.min(), even.max() > 500, sequential.max()) == (1, True, 378)
    assert torch.equal(even, even.sort().values)
    made = MADE(20, 0, [12], 1, degrees="sequential").eval()
    _randomise(made, 2)
    jacobian = torch.autograd.functional.jacobian(lambda v: made(v[None])[0, :, 0], torch.randn(20))
    assert (jacobian[:, 12:] == 0).all()


def test_masked_entries_never_matter() -> None:
    made = MADE(6, 0, [10, 10], 2).eval()
    x = torch.randn(4, 6)
    before = made(x)
    with torch.no_grad():
        for layer in [*made.hidden, made.output]:
            layer.weight += 1e3 * (1 - layer.mask)
    torch.testing.assert_close(made(x), before)


@pytest.mark.parametrize("cls", CLASSES)
def test_round_trip_and_jacobian(cls: type[MaskedAutoregressive]) -> None:
    block = cls(5, 2, [16, 16], SplineSettings(bound=5.0)).double().eval()
    _randomise(block, 3)
    x, context = 2 * torch.randn(30, 5, dtype=torch.float64), torch.randn(30, 2, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = block(x, context)
        back, inverse_log_det = block.inverse(z, context)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det, -inverse_log_det, rtol=1e-8, atol=1e-9)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda v, i=i: block(v[None], context[i : i + 1])[0][0], x[i])
        assert log_det[i].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-9)


def test_maf_and_iaf_networks_mean_the_same_spline() -> None:
    """With networks that ignore their input both classes are the same map."""
    maf, iaf = (cls(4, 0, [8], SplineSettings()).double().eval() for cls in CLASSES)
    for block in (maf, iaf):
        torch.nn.init.zeros_(block.made.output.weight)
    bias = torch.randn(4 * 23, dtype=torch.float64)
    with torch.no_grad():
        maf.made.output.bias.copy_(bias)
        iaf.made.output.bias.copy_(bias)
    x = torch.randn(10, 4, dtype=torch.float64)
    torch.testing.assert_close(maf(x), iaf(x))


def test_maf_density_equals_nflows_at_equal_weights() -> None:
    features, context_features, width = 7, 3, 20
    theirs = NflowsMAF(
        features,
        width,
        context_features=context_features,
        num_bins=8,
        tails="linear",
        tail_bound=14.0,
        num_blocks=1,
        use_residual_blocks=False,
        min_bin_width=1e-6,
        min_bin_height=1e-6,
        min_derivative=1e-6,
    ).double()
    ours = MaskedAutoregressive(features, context_features, [width, width], SplineSettings(), degrees="sequential")
    ours = ours.double().eval()
    net, made = theirs.autoregressive_net.eval(), ours.made
    _randomise(ours, 5)
    shift = torch.zeros(features, 23, dtype=torch.float64)
    shift[:, 16:] = identity_slope(ours.spline)
    with torch.no_grad():
        # nflows sends the context through its own ReLU: positive weights and contexts make it the identity
        made.context.weight.abs_()
        net.context_layer.weight.copy_(made.context.weight)
        net.context_layer.bias.zero_()
        net.initial_layer.weight.copy_(made.hidden[0].weight)
        net.initial_layer.bias.copy_(made.hidden[0].bias)
        net.blocks[0].linear.weight.copy_(made.hidden[1].weight)
        net.blocks[0].linear.bias.copy_(made.hidden[1].bias)
        net.final_layer.weight.copy_(made.output.weight)
        net.final_layer.bias.copy_((made.output.bias.view(features, 23) + shift).flatten())
    x = 3 * torch.randn(100, features, dtype=torch.float64)
    context = torch.rand(100, context_features, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = ours(x, context)
        z_nflows, log_det_nflows = theirs(x, context)
    torch.testing.assert_close(z, z_nflows, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(log_det, log_det_nflows, rtol=1e-6, atol=1e-8)


def test_autoregressive_density_equals_zuko_at_equal_conditionals() -> None:
    """Each conditional of the MAF is handed to zuko's spline by its knots, and the densities must agree."""
    features, shape = (
        4,
        SplineSettings(bins=6, bound=5.0, min_width=1e-4, min_height=1e-4, min_derivative=1e-4),
    )
    maf = MaskedAutoregressive(features, 0, [12], shape).double().eval()
    _randomise(maf, 7)
    x = 2 * torch.randn(50, features, dtype=torch.float64)
    with torch.no_grad():
        raw = maf.made(x)
        z, log_det = maf(x)
    spline = zuko.transforms.MonotonicRQSTransform(raw[..., :6], raw[..., 6:12], raw[..., 12:], bound=5.0)
    # zuko squashes raw parameters in its own way: give it the knots themselves
    spline.horizontal = _knots(raw[..., :6], 1e-4)
    spline.vertical = _knots(raw[..., 6:12], 1e-4)
    slopes = 1e-4 + torch.nn.functional.softplus(raw[..., 12:] + identity_slope(shape))
    spline.derivatives = torch.nn.functional.pad(slopes, (1, 1), value=1.0)
    z_zuko, ladj = spline.call_and_ladj(x)
    torch.testing.assert_close(z, z_zuko, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(log_det, ladj.sum(-1), rtol=1e-6, atol=1e-8)


def _knots(raw: torch.Tensor, minimum: float) -> torch.Tensor:
    sizes = minimum + (1 - 6 * minimum) * raw.softmax(-1)
    return torch.nn.functional.pad(10 * sizes.cumsum(-1), (1, 0)) - 5.0


@pytest.mark.parametrize("cls", CLASSES)
def test_two_dimensional_density_is_normalised(cls: type[MaskedAutoregressive]) -> None:
    block = cls(2, 1, [16], SplineSettings(bound=4.0)).double().eval()
    _randomise(block, 8)
    axis = torch.linspace(-7, 7, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        z, log_det = block(grid, torch.full((len(grid), 1), 0.7, dtype=torch.float64))
    density = torch.exp(torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) + log_det).view(401, 401)
    integral = torch.trapezoid(torch.trapezoid(density, axis), axis)
    assert float(integral) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_parameter_gets_a_gradient(cls: type[MaskedAutoregressive]) -> None:
    block = cls(6, 2, [24, 24], SplineSettings())
    _randomise(block, 9)
    z, log_det = block(torch.randn(64, 6), torch.randn(64, 2))
    (z.square().sum() + log_det.sum()).backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_gradients_flow_through_the_incremental_inverse() -> None:
    maf = MaskedAutoregressive(5, 1, [9, 9], SplineSettings(bound=6.0)).double().eval()
    _randomise(maf, 10)
    z, context = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 1, dtype=torch.float64)
    z.requires_grad_()
    x, log_det = maf.inverse(z, context)
    (gradient,) = torch.autograd.grad(x[0].sum(), z)
    jacobian = torch.autograd.functional.jacobian(lambda v: maf(v[None], context[:1])[0][0], x[0].detach())
    torch.testing.assert_close(gradient[0], torch.linalg.inv(jacobian).sum(0), rtol=1e-7, atol=1e-9)
    assert log_det.requires_grad


@pytest.mark.parametrize("cls", CLASSES)
def test_float32_stays_close_to_float64(cls: type[MaskedAutoregressive]) -> None:
    block = cls(12, 0, [16], SplineSettings()).eval()
    _randomise(block, 11)
    z = torch.randn(100, 12)
    with torch.no_grad():
        low = block.inverse(z)[0]
        high = block.double().inverse(z.double())[0]
    assert low.dtype == torch.float32
    assert float((low - high).abs().max()) < 1e-2
    assert float((low - high).abs().median()) < 1e-5


def test_raw_outputs_are_those_the_spline_uses() -> None:
    maf = MaskedAutoregressive(3, 0, [8], SplineSettings()).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    z, log_det, raw = maf.forward_traced(x)
    again, slopes = rational_quadratic(x, raw, maf.spline)
    torch.testing.assert_close((z, log_det), (again, slopes.sum(-1)))


def test_a_network_without_hidden_units_is_refused() -> None:
    with pytest.raises(ConfigError, match="hidden"):
        MADE(3, 0, [], 2)
