"""The one-pass inverse in torch operators: against the plain loop, on any device, inside of graphs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from hepflows import incremental_numba, incremental_torch
from hepflows.incremental import solve_by_passes
from hepflows.incremental_torch import solve_with_torch
from hepflows.spline_value import SplineValue
from hepflows.splines import SplineSettings, portable_rational_quadratic

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SPLINE = SplineSettings(bins=8, bound=4.0)
VIEWS = {
    "slice",
    "view",
    "select",
    "unsqueeze",
    "squeeze",
    "t",
    "transpose",
    "expand",
    "detach",
    "unbind",
    "_unsafe_view",
}


@given(
    seed=st.integers(0, 2**31),
    features=st.integers(1, 40),
    contexts=st.integers(0, 3),
    hidden=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    degrees=st.sampled_from(["even", "sequential"]),
    bins=st.integers(1, 9),
    count=st.sampled_from([0, 1, 5, 50]),
    inverse=st.booleans(),
    block=st.sampled_from([1, 5, 16, 64]),
)
@settings(max_examples=60, deadline=None)
def test_equal_to_the_definition_in_double_precision(
    masked_network, network_inputs, seed, features, contexts, hidden, degrees, bins, count, inverse, block
) -> None:
    spline = SplineSettings(bins=bins, bound=4.0)
    made = masked_network(seed, features, contexts, hidden, degrees, spline=spline)
    y, context = network_inputs(made, count)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(incremental_torch, "_BLOCK", block)
        v, log_det = solve_with_torch(made, y, context, spline, inverse=inverse)
        expected, expected_log_det = solve_by_passes(made, y, context, spline, inverse=inverse)
    torch.testing.assert_close(v, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("bins", [1, 2, 8])
def test_values_are_those_of_the_portable_splines(bins: int, inverse: bool) -> None:
    spline = SplineSettings(bins=bins, bound=5.0)
    torch.manual_seed(bins)
    raw, x = 4 * torch.randn(20_000, spline.n_parameters).double(), 4 * torch.randn(20_000).double()
    x[:4] = torch.tensor([1e30, -1e30, 5.0, -5.0])

    def value(x: Tensor, raw: Tensor) -> Tensor:
        y: Tensor = SplineValue.of(spline, x, inverse=inverse)(x, x.clamp(-5, 5), x.abs() >= 5, raw)
        return y

    truth, _ = portable_rational_quadratic(x, raw, spline, inverse=inverse)
    assert torch.equal(value(x, raw)[:4], x[:4])
    torch.testing.assert_close(value(x, raw), truth, rtol=1e-9, atol=1e-9)
    portable, _ = portable_rational_quadratic(x.float(), raw.float(), spline, inverse=inverse)
    errors = [(found.double() - truth).abs() for found in (value(x.float(), raw.float()), portable)]
    for share in (0.5, 0.999):
        ours, theirs = (error.quantile(share) for error in errors)
        assert ours <= 2 * theirs + 5 * torch.finfo(torch.float32).eps


def test_agrees_with_numba(masked_network, network_inputs) -> None:
    made = masked_network(10, 70, 2, [30, 30], spline=SPLINE)
    y, context = network_inputs(made, 30)
    with torch.no_grad():
        ours = incremental_numba.solve(made, y, context, SPLINE, inverse=True)
        theirs = solve_with_torch(made, y, context, SPLINE, inverse=True)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_not_a_number_stays_in_its_sample(masked_network, network_inputs) -> None:
    made = masked_network(3, 20, 2, [16, 16], spline=SPLINE)
    y, context = network_inputs(made, 30)
    with torch.no_grad():
        clean = solve_with_torch(made, y, context, SPLINE, inverse=True)
        y[7, 4] = float("nan")
        found = solve_with_torch(made, y, context, SPLINE, inverse=True)
    assert found[0][7, 4].isnan()
    assert torch.equal(found[0][7, :4], clean[0][7, :4])
    others = torch.arange(30) != 7
    for a, b in zip(clean, found, strict=True):
        assert torch.equal(a[others], b[others])


def test_non_contiguous_tensors(masked_network, network_inputs) -> None:
    made = masked_network(4, 20, 2, [16, 16], spline=SPLINE)
    y, context = network_inputs(made, 50)
    with torch.no_grad():
        expected = solve_with_torch(made, y, context, SPLINE, inverse=True)
        turned = (y.T.contiguous().T, torch.cat([context, context], 1)[:, 2:])
        found = solve_with_torch(made, *turned, SPLINE, inverse=True)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


class _Launches(TorchDispatchMode):
    """Counts operators that compute something."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ not in VIEWS:
            self.count[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("gradients", [False, True])
def test_nothing_is_read_back_and_launches_grow_with_dimensions_alone(masked_network, gradients: bool) -> None:
    """Tensors of the device `meta` have no values: whatever looked at one, or mixed devices, would raise."""
    launches = {}
    for features in (32, 64):
        made = masked_network(1, features, 2, [24, 24], spline=SPLINE).to("meta")
        y = torch.empty(40, features, device="meta", dtype=torch.float64, requires_grad=gradients)
        context = torch.empty(40, 2, device="meta", dtype=torch.float64)
        with _Launches() as seen, torch.set_grad_enabled(gradients):
            v, log_det = solve_with_torch(made, y, context, SPLINE, inverse=True)
            if gradients:
                (v.sum() + log_det.sum()).backward()
        assert v.shape == y.shape
        launches[features] = seen.count.total()
    slope = (launches[64] - launches[32]) / 32
    assert slope < (50 if gradients else 40)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.trace:DeprecationWarning")
def test_traced_graphs_hold_no_gathering_and_serve_any_batch(masked_network, network_inputs) -> None:
    made = masked_network(5, 7, 1, [12, 12], spline=SPLINE)

    class Inverse(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.made = made

        def forward(self, y: Tensor, context: Tensor) -> Tensor:
            return solve_with_torch(self.made, y, context, SPLINE, inverse=True)[0]

    y, context = network_inputs(made, 4)
    with torch.no_grad():
        traced = torch.jit.trace(Inverse(), (y, context), check_trace=False)
    kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    assert not kinds & {"aten::gather", "aten::searchsorted", "aten::cumsum", "aten::index_put_", "aten::copy_"}
    y, context = network_inputs(made, 9, seed=1)
    expected, _ = solve_by_passes(made, y, context, SPLINE, inverse=True)
    torch.testing.assert_close(traced(y, context), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gradients", [False, True])
def test_autocast_changes_nothing(masked_network, network_inputs, gradients: bool) -> None:
    made = masked_network(8, 30, 1, [20, 20], spline=SPLINE, dtype=torch.float32)
    y, context = network_inputs(made, 20, dtype=torch.float32)
    with torch.set_grad_enabled(gradients):
        expected = solve_with_torch(made, y, context, SPLINE, inverse=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = solve_with_torch(made, y, context, SPLINE, inverse=True)
    for a, b in zip(found, expected, strict=True):
        assert a.requires_grad == gradients
        assert torch.equal(a, b)


def test_vectorised_over_samples_by_torch_func(masked_network, network_inputs) -> None:
    made = masked_network(6, 18, 1, [12], spline=SPLINE)
    y, context = network_inputs(made, 5)
    expected, expected_log_det = solve_by_passes(made, y, context, SPLINE, inverse=False)

    def one(y: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        v, log_det = solve_with_torch(made, y[None], context[None], SPLINE, inverse=False)
        return v[0], log_det[0]

    found, log_det = torch.func.vmap(one)(y, context)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gpu_agrees_with_cpu(
    masked_network: Callable[..., Any], network_inputs: Callable[..., Any], dtype: torch.dtype
) -> None:
    made = masked_network(7, 60, 2, [50, 40], spline=SPLINE, dtype=dtype)
    y, context = network_inputs(made, 300, dtype=dtype)
    on_gpu = [tensor.cuda().requires_grad_() for tensor in (y, context)]
    on_cpu = [tensor.requires_grad_() for tensor in (y, context)]
    expected, expected_log_det = solve_with_torch(made, *on_cpu, SPLINE, inverse=True)
    wanted = torch.autograd.grad(expected.sin().sum() + expected_log_det.sum(), on_cpu)
    made = made.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found, log_det = solve_with_torch(made, *on_gpu, SPLINE, inverse=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    gradients = torch.autograd.grad(found.sin().sum() + log_det.sum(), on_gpu)
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    for a, b in zip((found, log_det, *gradients), (expected, expected_log_det, *wanted), strict=True):
        torch.testing.assert_close(a.cpu(), b, **tolerance)
