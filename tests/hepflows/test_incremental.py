"""The one-pass inverse on the CPU: exact, and bit-identical for any batch and number of threads."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows import incremental_numba, packing
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.incremental import solve, solve_by_passes, transform
from hepflows.splines import SplineSettings, rational_quadratic

SPLINE = SplineSettings(bins=8, bound=4.0)


@pytest.fixture(scope="module")
def network(masked_network):
    def make(seed, features, contexts, hidden, degrees, spline=SPLINE, dtype=torch.float64):
        return masked_network(seed, features, contexts, hidden, degrees, spline=spline, dtype=dtype)

    return make


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
def test_equal_to_the_definition_in_double_precision(
    network, network_inputs, seed, features, contexts, hidden, degrees, count, inverse, rows
):
    made = network(seed, features, contexts, hidden, degrees)
    y, context = network_inputs(made, count)
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
def test_direction_of_known_inputs(network, network_inputs, seed, features, contexts, hidden, degrees, inverse):
    made = network(seed, features, contexts, hidden, degrees)
    y, context = network_inputs(made, 30)
    expected, log_derivative = rational_quadratic(y, made(y, context), SPLINE, inverse=inverse)
    with torch.no_grad():
        v, log_det = transform(made, y, context, SPLINE, inverse=inverse)
    torch.testing.assert_close(v, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, log_derivative.sum(-1), rtol=1e-10, atol=1e-10)
    assert transform(made, y, context, SPLINE, inverse=inverse)[0].requires_grad


@pytest.mark.parametrize("bins", [1, 2])
@pytest.mark.parametrize("inverse", [False, True])
def test_other_numbers_of_bins(network, network_inputs, bins, inverse):
    spline = SplineSettings(bins=bins, bound=3.0)
    made = network(1, 9, 1, [20, 10], "even", spline)
    assert_equal_to_passes(made, *network_inputs(made, 40), spline, inverse)


def extremes(y):
    """Put values at and beyond the bound of the splines into a third of the samples."""
    y[::3] *= 10
    y[0], y[3], y[6, ::2] = 1e30, -1e30, 1e30
    y[9, :6], y[12, 3:] = -4.0, 4.0
    y[15] = torch.nextafter(torch.tensor(4.0, dtype=y.dtype), torch.tensor(0.0, dtype=y.dtype))
    return y


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [incremental_numba.solve, incremental_numba.transform])
@pytest.mark.parametrize("inverse", [False, True])
def test_nothing_happens_beyond_the_bound(network, network_inputs, inverse, function, dtype):
    made = network(2, 12, 0, [16], "even", dtype=dtype)
    y = extremes(network_inputs(made, 60, dtype=dtype)[0])
    v, log_det = function(made, y, None, SPLINE, inverse=inverse)
    outside = y.abs() >= SPLINE.bound
    assert torch.equal(v[outside], y[outside])
    # an element next to the bound may round to just beyond it
    assert v[~outside].abs().max() <= SPLINE.bound * (1 + 8 * torch.finfo(dtype).eps)
    assert log_det.isfinite().all()
    assert torch.equal(log_det[[0, 3]], torch.zeros(2, dtype=dtype))


@pytest.mark.parametrize("inverse", [False, True])
def test_equal_to_the_definition_at_bounds_and_in_tails(network, network_inputs, inverse):
    """Only 1e30 itself is made invisible to the network: raw parameters of that size leave no digits to compare."""
    made = network(2, 12, 0, [16], "even")
    y = extremes(network_inputs(made, 60)[0])
    seen = torch.arange(12) != 5
    y[:, seen] = y[:, seen].clamp(-60, 60)
    with torch.no_grad():
        made.hidden[0].weight[:, 5] = 0
    assert y.abs().max() == 1e30
    assert_equal_to_passes(made, y, None, SPLINE, inverse)


@pytest.mark.parametrize("function", [incremental_numba.solve, incremental_numba.transform])
def test_not_a_number_stays_in_its_sample(network, network_inputs, function):
    made = network(3, 12, 2, [16, 16], "even")
    y, context = network_inputs(made, 30)
    clean, clean_log_det = function(made, y, context, SPLINE, inverse=True)
    y[7, 4] = context[21, 0] = float("nan")
    v, log_det = function(made, y, context, SPLINE, inverse=True)
    assert v[7, 4].isnan()
    assert torch.equal(v[7, :4], clean[7, :4])
    assert v[21].isnan().any()
    others = [i for i in range(30) if i not in (7, 21)]
    assert torch.equal(v[others], clean[others])
    assert torch.equal(log_det[others], clean_log_det[others])


def test_non_contiguous_tensors(network, network_inputs):
    made = network(4, 10, 2, [16, 16], "even")
    y, context = network_inputs(made, 50)
    expected = incremental_numba.solve(made, y, context, SPLINE, inverse=True)
    found = incremental_numba.solve(
        made, y.T.contiguous().T, torch.cat([context, context], 1)[:, 2:], SPLINE, inverse=True
    )
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.fixture(scope="module")
def whole(network, network_inputs):
    """Results of 1100 samples, evaluated together by one thread."""
    results = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.float64):
        made = network(5, 60, 3, [50, 40], "even", dtype=dtype)
        y, context = network_inputs(made, 1100, dtype=dtype)
        for function in (incremental_numba.solve, incremental_numba.transform):
            results[dtype, function] = made, y, context, function(made, y, context, SPLINE, inverse=True)
    torch.set_num_threads(threads)
    return results


@given(
    dtype=st.sampled_from([torch.float32, torch.float64]),
    function=st.sampled_from([incremental_numba.solve, incremental_numba.transform]),
    threads=st.integers(1, 3),
    first=st.integers(0, 1099),
    count=st.sampled_from([1, 15, 16, 17, 49, 255, 256, 257, 600, 1100]),
)
@settings(max_examples=60, deadline=None)
def test_a_sample_is_bit_identical_in_any_batch_and_with_any_number_of_threads(
    whole, dtype, function, threads, first, count
):
    made, y, context, expected = whole[dtype, function]
    rows = slice(first, first + count)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = function(made, y[rows], context[rows], SPLINE, inverse=True)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b[rows])


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


def test_masked_weights_are_without_effect(network, network_inputs):
    made = network(7, 20, 2, [30, 30], "sequential")
    y, context = network_inputs(made, 10)
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
def test_changed_weights_are_packed_again(network, network_inputs, change):
    made = network(8, 10, 0, [16], "even")
    y, _ = network_inputs(made, 20)
    assert_equal_to_passes(made, y, None, SPLINE, inverse=True)
    first = packing.packed(made)
    assert packing.packed(made) is first
    change(made)
    assert_equal_to_passes(made, y, None, SPLINE, inverse=True)
    assert packing.packed(made) is not first


def made_gradients(made):
    for parameter in made.parameters():
        parameter.grad = torch.ones_like(parameter)


def test_inference_mode(network, network_inputs):
    made = network(11, 10, 2, [16], "even")
    y, context = network_inputs(made, 5)
    expected = incremental_numba.solve(made, y, context, SPLINE, inverse=True)[0]
    with torch.inference_mode():
        found = solve(copy.deepcopy(made), y, context, SPLINE, inverse=True)[0]
    assert torch.equal(found, expected)
