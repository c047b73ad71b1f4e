"""Splines: inverse, log-determinant against autograd, tails, and nflows at equal parameters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nflows.transforms.splines.rational_quadratic import unconstrained_rational_quadratic_spline

from hepflows.errors import ConfigError
from hepflows.splines import SplineSettings, identity_slope, rational_quadratic


def _case(seed: int, bins: int, n: int = 200, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 6 * torch.randn(n, generator=generator, dtype=torch.float64)
    parameters = spread * torch.randn(n, 3 * bins - 1, generator=generator, dtype=torch.float64)
    return x, parameters


@given(seed=st.integers(0, 10_000), bins=st.integers(1, 12), bound=st.floats(0.5, 20.0))
def test_inverse_undoes_forward_and_log_determinants_cancel(seed: int, bins: int, bound: float) -> None:
    settings = SplineSettings(bins=bins, bound=bound)
    x, parameters = _case(seed, bins)
    y, forward = rational_quadratic(x, parameters, settings)
    back, inverse = rational_quadratic(y, parameters, settings, inverse=True)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(forward + inverse, torch.zeros_like(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("inverse", [False, True])
def test_log_derivative_is_that_of_autograd(inverse: bool) -> None:
    settings = SplineSettings()
    x, parameters = _case(3, settings.bins)
    x.requires_grad_()
    y, log_derivative = rational_quadratic(x, parameters, settings, inverse=inverse)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope > 0).all()
    torch.testing.assert_close(log_derivative, slope.log(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("inverse", [False, True])
def test_equals_nflows_at_equal_parameters(inverse: bool) -> None:
    settings = SplineSettings(bins=8, bound=14.0)
    x, parameters = _case(4, settings.bins, n=2000, spread=1.5)
    ours = rational_quadratic(x, parameters, settings, inverse=inverse)
    theirs = unconstrained_rational_quadratic_spline(
        x,
        parameters[:, :8],
        parameters[:, 8:16],
        parameters[:, 16:] + identity_slope(settings),
        inverse=inverse,
        tails="linear",
        tail_bound=14.0,
        min_bin_width=1e-6,
        min_bin_height=1e-6,
        min_derivative=1e-6,
    )
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-6, atol=1e-8)


def test_zero_parameters_are_the_identity() -> None:
    settings = SplineSettings(bins=5, bound=3.0)
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    y, log_derivative = rational_quadratic(x, torch.zeros(101, settings.n_parameters, dtype=x.dtype), settings)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_derivative, torch.zeros_like(x), rtol=0, atol=1e-12)


def test_tails_are_linear_and_one_outlier_leaves_its_row_alone() -> None:
    settings = SplineSettings(bins=4, bound=2.0)
    _, parameters = _case(5, 4, n=3)
    x = torch.tensor([0.3, -7.0, 2.0], dtype=torch.float64)
    y, log_derivative = rational_quadratic(x, parameters, settings)
    alone, _ = rational_quadratic(x[:1], parameters[:1], settings)
    assert y[1] == -7.0
    assert y[2] == 2.0
    assert log_derivative[1] == 0.0
    assert y[0] == alone[0] != x[0]


def test_density_is_normalised() -> None:
    settings = SplineSettings(bins=6, bound=4.0)
    _, parameters = _case(6, 6, n=1, spread=2.0)
    x = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    z, log_derivative = rational_quadratic(x, parameters.expand(len(x), -1), settings)
    density = torch.exp(torch.distributions.Normal(0.0, 1.0).log_prob(z) + log_derivative)
    assert float(torch.trapezoid(density, x)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"bins": 0}, {"bound": 0.0}, {"min_width": 0.2, "bins": 8}, {"min_derivative": 1.5}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SplineSettings(**wrong)  # type: ignore[arg-type]
