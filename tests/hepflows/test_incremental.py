from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows import incremental_numba, packing
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.incremental import solve, solve_by_passes, solve_with_torch, transform
from hepflows.made import MADE
from hepflows.splines import SplineSettings, rational_quadratic

SPLINE = SplineSettings(bins=8, bound=4.0)


def network(seed, features, contexts, hidden, degrees, spline=SPLINE, dtype=torch.float64):
    torch.manual_seed(seed)
    made = MADE(features, contexts, hidden, spline.n_parameters, degrees=degrees).to(dtype).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.6 / max(1, parameter.shape[-1]) ** 0.5)
        made.output.weight *= 2
    return made


def inputs(made, count, dtype=torch.float64):
    y = 2 * torch.randn(count, made.features, dtype=dtype)
    return y, torch.randn(count, made.context_features, dtype=dtype) if made.context_features else None


def assert_equal_to_passes(made, y, context, spline, inverse):
    with torch.no_grad():
        v, log_det = solve(made, y, context, spline, inverse=inverse)
        expected, expected_log_det = solve_by_passes(made, y, context, spline, inverse=inverse)
    torch.testing.assert_close(v, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)


@given(
    seed=st.integers(0, 2**31),
    features=st.integers(1, 40),
    contexts=st.integers(0, 3),
    hidden=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    degrees=st.sampled_from(["even", "sequential"]),
    count=st.sampled_from([0, 1, 5, 128, 200]),
    inverse=st.booleans(),
    rows=st.sampled_from([1, 50, 144]),
)
@settings(max_examples=60, deadline=None)
def test_equal_to_the_definition_in_double_precision(seed, features, contexts, hidden, degrees, count, inverse, rows):
    made = network(seed, features, contexts, hidden, degrees)
    y, context = inputs(made, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_BLOCK_ROWS", rows)
        assert_equal_to_passes(made, y, context, SPLINE, inverse)


@given(
    seed=st.integers(0, 2**31),
    features=st.integers(1, 40),
    contexts=st.integers(0, 3),
    hidden=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    degrees=st.sampled_from(["even", "sequential"]),
    inverse=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_direction_of_known_inputs(seed, features, contexts, hidden, degrees, inverse):
    made = network(seed, features, contexts, hidden, degrees)
    y, context = inputs(made, 30)
    expected, log_derivative = rational_quadratic(y, made(y, context), SPLINE, inverse=inverse)
    with torch.no_grad():
        v, log_det = transform(made, y, context, SPLINE, inverse=inverse)
    torch.testing.assert_close(v, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, log_derivative.sum(-1), rtol=1e-10, atol=1e-10)
    assert transform(made, y, context, SPLINE, inverse=inverse)[0].requires_grad


@pytest.mark.parametrize("bins", [1, 2])
@pytest.mark.parametrize("inverse", [False, True])
def test_other_numbers_of_bins(bins, inverse):
    spline = SplineSettings(bins=bins, bound=3.0)
    made = network(1, 9, 1, [20, 10], "even", spline)
    assert_equal_to_passes(made, *inputs(made, 40), spline, inverse)


@pytest.mark.parametrize("inverse", [False, True])
def test_tails_and_values_beyond_all_bounds(inverse):
    made = network(2, 12, 0, [16], "even")
    y, _ = inputs(made, 60)
    y[::3] *= 10
    y[0], y[1, :6], y[2, 3] = 1e30, -4.0, 4.0
    with torch.no_grad():
        made.hidden[0].weight.clamp_(-1e-3, 1e-3)
    v, _ = incremental_numba.solve(made, y, None, SPLINE, inverse=inverse)
    outside = y.abs() >= SPLINE.bound
    assert torch.equal(v[outside], y[outside])
    assert_equal_to_passes(made, y[1:], None, SPLINE, inverse)


def test_not_a_number_stays_in_its_sample():
    made = network(3, 12, 2, [16, 16], "even")
    y, context = inputs(made, 30)
    clean, clean_log_det = incremental_numba.solve(made, y, context, SPLINE, inverse=True)
    y[7, 4] = float("nan")
    v, log_det = incremental_numba.solve(made, y, context, SPLINE, inverse=True)
    assert v[7, 4].isnan()
    others = torch.arange(30) != 7
    assert torch.equal(v[others], clean[others])
    assert torch.equal(log_det[others], clean_log_det[others])


def test_non_contiguous_tensors():
    made = network(4, 10, 2, [16, 16], "even")
    y, context = inputs(made, 50)
    expected = incremental_numba.solve(made, y, context, SPLINE, inverse=True)
    found = incremental_numba.solve(
        made, y.T.contiguous().T, torch.cat([context, context], 1)[:, 2:], SPLINE, inverse=True
    )
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_is_bit_identical_in_any_batch_and_with_any_number_of_threads(dtype):
    made = network(5, 60, 3, [50, 40], "even", dtype=dtype)
    y, context = inputs(made, 700, dtype)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        v, log_det = incremental_numba.solve(made, y, context, SPLINE, inverse=True)
        for count, rows in ((2, slice(None)), (3, slice(256, 700)), (2, slice(13, 300)), (1, slice(699, 700))):
            torch.set_num_threads(count)
            part = incremental_numba.solve(made, y[rows], context[rows], SPLINE, inverse=True)
            assert torch.equal(part[0], v[rows])
            assert torch.equal(part[1], log_det[rows])
    finally:
        torch.set_num_threads(threads)


def test_single_precision_errs_as_little_as_the_passes():
    made = network(6, 100, 3, [80, 80], "even")
    y, context = inputs(made, 300)
    single = copy.deepcopy(made).float()
    with torch.no_grad():
        truth, _ = solve_by_passes(made, y, context, SPLINE, inverse=True)
        ours, _ = solve(single, y.float(), context.float(), SPLINE, inverse=True)
        theirs, _ = solve_by_passes(single, y.float(), context.float(), SPLINE, inverse=True)
    for quantile in (0.5, 0.999):
        error, bound = ((v.double() - truth).abs().flatten().quantile(quantile) for v in (ours, theirs))
        assert error <= 2 * bound


def test_round_trip_of_both_flows():
    torch.manual_seed(0)
    for block in (MaskedAutoregressive, InverseAutoregressive):
        flow = block(30, 2, [40, 40], SPLINE).double().eval()
        torch.nn.init.normal_(flow.made.output.weight, 0, 0.2)
        x, context = 2 * torch.randn(20, 30, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
        with torch.no_grad():
            z, log_z = flow(x, context)
            back, log_back = flow.inverse(z, context)
        torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(log_back, -log_z, rtol=1e-9, atol=1e-9)


def test_masked_weights_are_without_effect():
    made = network(7, 20, 2, [30, 30], "sequential")
    y, context = inputs(made, 10)
    before = incremental_numba.solve(made, y, context, SPLINE, inverse=True)[0]
    with torch.no_grad():
        for layer in (*made.hidden, made.output):
            layer.weight[layer.mask == 0] = float("nan")
    after = incremental_numba.solve(made, y, context, SPLINE, inverse=True)[0]
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.output.bias.data.add_(0.1),
        lambda made: made.load_state_dict({k: 1.1 * v for k, v in made.state_dict().items()}),
        lambda made: setattr(made.hidden[0], "weight", torch.nn.Parameter(made.hidden[0].weight * 1.1)),
        lambda made: torch.optim.SGD(made.parameters(), 0.1).step(made_gradients(made)),
    ],
    ids=["data", "load_state_dict", "replace", "optimiser"],
)
def test_changed_weights_are_packed_again(change):
    made = network(8, 10, 0, [16], "even")
    y, _ = inputs(made, 20)
    assert_equal_to_passes(made, y, None, SPLINE, inverse=True)
    first = packing.packed(made)
    assert packing.packed(made) is first
    change(made)
    assert_equal_to_passes(made, y, None, SPLINE, inverse=True)
    assert packing.packed(made) is not first


def made_gradients(made):
    for parameter in made.parameters():
        parameter.grad = torch.ones_like(parameter)


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_take_the_torch_route_and_agree(inverse):
    made = network(9, 8, 2, [12, 12], "even")
    y, context = inputs(made, 6)
    y.requires_grad_()
    v, log_det = solve(made, y, context, SPLINE, inverse=inverse)
    expected, expected_log_det = solve_by_passes(made, y, context, SPLINE, inverse=inverse)
    torch.testing.assert_close(v, expected)
    wanted = (y, *made.parameters())
    ours = torch.autograd.grad((v.sin() + log_det[:, None]).sum(), wanted)
    theirs = torch.autograd.grad((expected.sin() + expected_log_det[:, None]).sum(), wanted)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(solve(made, y, context, SPLINE, inverse=inverse)[0], v)


def test_torch_and_numba_agree():
    made = network(10, 30, 2, [30, 30], "even")
    y, context = inputs(made, 30)
    with torch.no_grad():
        ours = incremental_numba.solve(made, y, context, SPLINE, inverse=True)
        theirs = solve_with_torch(made, y, context, SPLINE, inverse=True)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_inference_mode():
    made = network(11, 10, 2, [16], "even")
    y, context = inputs(made, 5)
    expected = incremental_numba.solve(made, y, context, SPLINE, inverse=True)[0]
    with torch.inference_mode():
        found = solve(copy.deepcopy(made), y, context, SPLINE, inverse=True)[0]
    assert torch.equal(found, expected)
