"""Preprocessing is invertible, its log-determinants are right, and nothing is lost near the edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calofast.preprocessing import (
    ConditionTransform,
    ContextStandardisation,
    layer_matrix,
    logit_of_share,
    share_of_logit,
)


@given(small=st.floats(1e-7, 1.0), large=st.floats(1.0, 1e5))
def test_logit_of_share_is_invertible_and_symmetric(small: float, large: float) -> None:
    a, b = torch.tensor([small], dtype=torch.float64), torch.tensor([large], dtype=torch.float64)
    y, _ = logit_of_share(a, b)
    mirrored, _ = logit_of_share(b, a)
    torch.testing.assert_close(y, -mirrored)
    part, rest = share_of_logit(y)
    torch.testing.assert_close(part, a / (a + b), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(rest, b / (a + b), rtol=1e-9, atol=0)


def test_an_almost_empty_layer_survives_float32() -> None:
    """36 keV behind 30 GeV: computed as 1 - u in float32 this share would be off by several per cent."""
    part, rest = torch.tensor([30_000.0]), torch.tensor([0.3])
    y, _ = logit_of_share(part, rest)
    exact, _ = logit_of_share(part.double(), rest.double())
    assert float(y) == pytest.approx(float(exact), rel=1e-6)
    assert float(share_of_logit(y)[1]) == pytest.approx(1e-5, rel=1e-3)


def test_log_derivative_of_the_logit() -> None:
    u = torch.linspace(0.01, 0.99, 50, dtype=torch.float64, requires_grad=True)
    y, log_slope = logit_of_share(u, 1 - u)
    (slope,) = torch.autograd.grad(y.sum(), u)
    # autograd moves part and rest together, which is du
    torch.testing.assert_close(log_slope, slope.log(), rtol=1e-5, atol=1e-5)


def test_zero_and_everything_are_finite() -> None:
    y, log_slope = logit_of_share(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_slope).all()
    assert share_of_logit(y)[0].tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_conditions_are_standardised_and_clamped() -> None:
    generator = torch.Generator().manual_seed(1)
    conditions = torch.stack([1 + 99 * torch.rand(500, generator=generator), torch.full((500,), 0.3)], dim=1)
    transform = ConditionTransform(2)
    transform.fit(conditions)
    scaled = transform(conditions)
    assert float(scaled[:, 0].mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(scaled[:, 0].std()) == pytest.approx(1.0, abs=1e-2)
    assert torch.isfinite(scaled).all(), "a constant condition must not divide by zero"
    wild = torch.tensor([[1e-9, 5.0], [1e9, -5.0]])
    clamped = transform.clamp(wild)
    assert float(clamped[0, 0]) == float(conditions[:, 0].min())
    assert float(clamped[1, 0]) == float(conditions[:, 0].max())


def test_context_standardisation_removes_what_the_context_explains() -> None:
    generator = torch.Generator().manual_seed(2)
    context = torch.randn(4000, 2, generator=generator)
    noise = torch.randn(4000, 2, generator=generator)
    mean = 2 + 3 * context[:, 0] - context[:, 0] * context[:, 1]
    u = torch.stack([mean, mean], dim=1) + 0.1 * noise
    step = ContextStandardisation(2, 2)
    step.fit(u, context, regress=torch.tensor([True, False]))
    y, log_det = step(u, context)
    assert float(step.scale[0]) == pytest.approx(0.1, rel=0.05)
    assert float(step.scale[1]) == pytest.approx(float(u[:, 1].std()), rel=0.02)
    torch.testing.assert_close(y.std(0), torch.ones(2), rtol=0.02, atol=0)
    torch.testing.assert_close(step.inverse(y, context), u, rtol=1e-4, atol=1e-4)
    assert float(log_det[0]) == pytest.approx(float(-step.scale.log().sum()), rel=1e-6)


def test_layer_matrix_sums_layers() -> None:
    voxels = torch.arange(6.0)[None]
    assert (voxels @ layer_matrix([1, 2, 3])).tolist() == [[0.0, 3.0, 12.0]]
