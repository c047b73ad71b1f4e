from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows.fused_spline import fused_rational_quadratic
from hepflows.splines import SplineSettings, portable_rational_quadratic, rational_quadratic

directions = pytest.mark.parametrize("inverse", [False, True])


def random_spline(seed, shape, spline, *, dtype=torch.float64, spread=1.5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=dtype) * spline.bound * 0.6
    raw = torch.randn((*shape, spline.n_parameters), generator=generator, dtype=dtype) * spread
    return x.requires_grad_(), raw.requires_grad_()


def pulled_back(function, x, raw, spline, inverse):
    outputs = function(x, raw, spline, inverse=inverse)
    generator = torch.Generator().manual_seed(5)
    upstream = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for _ in outputs]
    return [*(o.detach() for o in outputs), *torch.autograd.grad(outputs, (x, raw), upstream)]


def away_from_knots(x, raw, spline, inverse, margin=1e-6):
    """At a knot the second derivative jumps: two evaluations may rightly choose different sides."""
    part = raw[..., spline.bins : 2 * spline.bins] if inverse else raw[..., : spline.bins]
    least = spline.min_height if inverse else spline.min_width
    shares = least + (1 - spline.bins * least) * torch.softmax(part, dim=-1)
    knots = (shares.cumsum(-1) * 2 - 1) * spline.bound
    knots = torch.cat([torch.full_like(knots[..., :1], -spline.bound), knots], dim=-1)
    return ((x.unsqueeze(-1) - knots).abs() > margin * spline.bound).all(-1)


@given(
    seed=st.integers(0, 2**31),
    bins=st.sampled_from([1, 2, 8]),
    bound=st.floats(0.5, 20),
    least=st.sampled_from([1e-6, 1e-3, 1e-2]),
    inverse=st.booleans(),
    shape=st.sampled_from([(1,), (127,), (128,), (129,), (3, 90), (2, 3, 50), (0, 4)]),
    spread=st.sampled_from([0.0, 0.5, 2.0]),
)
@settings(max_examples=80, deadline=None)
def test_values_and_gradients_equal_autograd_of_the_portable_code(seed, bins, bound, least, inverse, shape, spread):
    spline = SplineSettings(bins=bins, bound=bound, min_width=least, min_height=least, min_derivative=least)
    x, raw = random_spline(seed, shape, spline, spread=spread)
    clear = away_from_knots(x.detach(), raw.detach(), spline, inverse)
    ours = pulled_back(fused_rational_quadratic, x, raw, spline, inverse)
    theirs = pulled_back(portable_rational_quadratic, x, raw, spline, inverse)
    for name, a, b in zip(("y", "log", "grad x", "grad raw"), ours, theirs, strict=True):
        scale = 1 + b.abs() if b.ndim == x.ndim else 1 + b.abs().amax(-1, keepdim=True)
        worst = ((a - b).abs() / scale)[clear]
        assert not worst.numel() or worst.max() < 1e-10, (name, worst.max())


@directions
def test_gradcheck(inverse):
    spline = SplineSettings(bins=4, bound=3.0, min_width=1e-3, min_height=1e-3, min_derivative=1e-3)
    x, raw = random_spline(3, (9,), spline, spread=0.7)
    assert torch.autograd.gradcheck(
        lambda x, raw: fused_rational_quadratic(x, raw, spline, inverse=inverse), (x, raw), atol=1e-6
    )


@directions
def test_second_derivatives_come_from_the_portable_code(inverse):
    spline = SplineSettings(bins=4, bound=3.0, min_width=1e-2, min_height=1e-2, min_derivative=1e-2)
    x, raw = random_spline(4, (6,), spline, spread=0.7)
    assert torch.autograd.gradgradcheck(
        lambda x, raw: fused_rational_quadratic(x, raw, spline, inverse=inverse), (x, raw), atol=1e-5
    )


def test_round_trip_and_log_derivatives_cancel():
    spline = SplineSettings()
    x, raw = random_spline(0, (40, 30), spline)
    y, log_y = fused_rational_quadratic(x, raw, spline)
    back, log_back = fused_rational_quadratic(y, raw, spline, inverse=True)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(log_back, -log_y, rtol=0, atol=1e-6)


@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outside_of_the_interval_the_spline_is_the_identity(dtype, inverse):
    spline = SplineSettings(bound=2.0)
    x = torch.tensor([2.0, -2.0, 2.5, -1e30, math.inf, -math.inf], dtype=dtype, requires_grad=True)
    raw = torch.randn(6, spline.n_parameters, dtype=dtype, requires_grad=True)
    y, log = fused_rational_quadratic(x, raw, spline, inverse=inverse)
    grad_x, grad_raw = torch.autograd.grad((y.clamp(-1e31, 1e31) + 3 * log).sum(), (x, raw))
    assert torch.equal(y, x)
    assert torch.equal(log, torch.zeros_like(x))
    assert torch.equal(grad_x[:4], torch.ones(4, dtype=dtype))
    assert torch.equal(grad_raw, torch.zeros_like(raw))


@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nan_stays_in_its_element(dtype, inverse):
    spline = SplineSettings(bins=3)
    x, raw = (t.detach() for t in random_spline(1, (300,), spline, dtype=dtype))
    x[20:23] = 0.5
    clean, clean_log = fused_rational_quadratic(x, raw, spline, inverse=inverse)
    x, raw = x.clone(), raw.clone()
    x[7] = math.nan
    raw[20, 1], raw[21], raw[22, 0] = math.nan, math.nan, math.inf
    raw[20, 4] = math.nan
    y, log = fused_rational_quadratic(x, raw, spline, inverse=inverse)
    bad = [7, 20, 21, 22]
    assert y[bad].isnan().all()
    assert log[bad[1:]].isnan().all()
    good = torch.ones(300, dtype=torch.bool)
    good[bad] = False
    assert torch.equal(y[good], clean[good])
    assert torch.equal(log[good], clean_log[good])


@directions
@pytest.mark.parametrize("spread", [30.0, 1e3])
def test_extreme_parameters_stay_finite_and_agree(spread, inverse):
    spline = SplineSettings()
    x, raw = random_spline(2, (400,), spline, spread=spread)
    clear = away_from_knots(x.detach(), raw.detach(), spline, inverse, margin=1e-4)
    ours = pulled_back(fused_rational_quadratic, x, raw, spline, inverse)
    theirs = pulled_back(portable_rational_quadratic, x, raw, spline, inverse)
    assert all(o.isfinite().all() for o in ours)
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(a[clear], b[clear], rtol=1e-7, atol=1e-7)


@directions
def test_float32_errs_as_little_as_the_portable_code(inverse):
    spline = SplineSettings()
    x, raw = (t.detach() for t in random_spline(6, (200, 100), spline, spread=1.0))
    exact = portable_rational_quadratic(x, raw, spline, inverse=inverse)
    ours = fused_rational_quadratic(x.float(), raw.float(), spline, inverse=inverse)
    theirs = portable_rational_quadratic(x.float(), raw.float(), spline, inverse=inverse)
    for truth, a, b in zip(exact, ours, theirs, strict=True):
        for quantile in (0.5, 0.999):
            error_a, error_b = ((v.double() - truth).abs().flatten().quantile(quantile) for v in (a, b))
            assert error_a <= 1.5 * error_b + 1e-7


def test_result_of_an_element_does_not_depend_on_batch_place_or_threads():
    spline = SplineSettings()
    x, raw = random_spline(7, (60, 501), spline, dtype=torch.float32)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(pulled_back(fused_rational_quadratic, x, raw, spline, inverse=True))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    y, log = fused_rational_quadratic(x[17:20, 5:40], raw[17:20, 5:40], spline, inverse=True)
    assert torch.equal(y, results[0][0][17:20, 5:40])
    assert torch.equal(log, results[0][1][17:20, 5:40])


@directions
def test_non_contiguous_tensors(inverse):
    spline = SplineSettings(bins=5)
    x, raw = (t.detach() for t in random_spline(8, (60, 20), spline))
    expected = fused_rational_quadratic(x.T.contiguous(), raw.transpose(0, 1).contiguous(), spline, inverse=inverse)
    x_view, raw_view = x.clone().requires_grad_(), raw.clone().requires_grad_()
    found = fused_rational_quadratic(x_view.T, raw_view.transpose(0, 1), spline, inverse=inverse)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    found[0].T.sum().backward()
    x_flat, raw_flat = x.clone().requires_grad_(), raw.clone().requires_grad_()
    fused_rational_quadratic(x_flat, raw_flat, spline, inverse=inverse)[0].sum().backward()
    assert torch.equal(x_view.grad, x_flat.grad)
    assert torch.equal(raw_view.grad, raw_flat.grad)


def test_gradients_of_one_argument_only():
    spline = SplineSettings()
    x, raw = random_spline(9, (300,), spline)
    both = torch.autograd.grad(rational_quadratic(x, raw, spline)[1].sum(), (x, raw))
    (only_x,) = torch.autograd.grad(rational_quadratic(x, raw.detach(), spline)[1].sum(), (x,))
    (only_raw,) = torch.autograd.grad(rational_quadratic(x.detach(), raw, spline)[1].sum(), (raw,))
    assert torch.equal(both[0], only_x)
    assert torch.equal(both[1], only_raw)


def test_graph_recorders_and_transforms_see_the_portable_code():
    spline = SplineSettings(bins=3)
    x, raw = (t.detach() for t in random_spline(10, (20, 20), spline))

    def y(x, raw):
        return rational_quadratic(x, raw, spline)[0]

    expected = portable_rational_quadratic(x, raw, spline)[0]
    torch.testing.assert_close(torch.func.vmap(y)(x, raw), expected)
    jacobian = torch.func.grad(lambda v: y(v, raw).sum())(x)
    slopes = portable_rational_quadratic(x, raw, spline)[1].exp()
    torch.testing.assert_close(jacobian, slopes, rtol=1e-8, atol=1e-8)
    exported = torch.export.export(_Spline(spline), (x, raw))
    assert not any("Fused" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x, raw), expected)


def test_vectorised_jacobian_through_the_fused_backward():
    spline = SplineSettings(bins=3)
    x, raw = random_spline(11, (300,), spline)
    y, log = rational_quadratic(x, raw, spline)
    basis = torch.eye(300, dtype=x.dtype)[:4]
    (rows,) = torch.autograd.grad(y, x, basis, is_grads_batched=True)
    torch.testing.assert_close(rows, basis * log.exp().detach(), rtol=1e-8, atol=1e-8)


class _Spline(torch.nn.Module):
    def __init__(self, spline):
        super().__init__()
        self.spline = spline

    def forward(self, x, raw):
        return rational_quadratic(x, raw, self.spline)[0]


def test_numba_is_loaded_on_first_use_only():
    code = "import sys, hepflows.splines, hepflows.flow; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_exponential_and_logarithms_are_good_to_two_units_in_the_last_place():
    from hepflows import vector_math

    rng = np.random.default_rng(0)
    cases = (
        (vector_math.exponential, np.exp, -np.minimum(rng.exponential(8, 2**14), 85)),
        (vector_math.logarithm, np.log, np.exp(3 * rng.normal(size=2**14))),
        (vector_math.logarithm_of_one_plus, np.log1p, np.exp(-rng.exponential(8, 2**14))),
    )
    for function, truth, x in cases:
        loop = _loop(function)
        for dtype in (np.float32, np.float64):
            typed = x.astype(dtype)
            expected = truth(typed.astype(np.longdouble))
            units = np.abs((loop(typed) - expected) / np.spacing(np.abs(expected).astype(dtype)))
            assert units.max() < 2, (function.__name__, dtype)


def _loop(function):
    import numba

    @numba.njit(error_model="numpy")
    def loop(x):
        y = np.empty_like(x)
        for i in range(x.size):
            y[i] = function(x[i])
        return y

    return loop
