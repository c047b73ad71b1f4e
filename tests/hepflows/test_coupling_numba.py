"""Coupling blocks through the CPU kernels: the same numbers as in torch operators, whatever the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepflows.coupling import SplineCoupling
from hepflows.splines import SplineSettings, portable_rational_quadratic

_SPLINE = SplineSettings(bins=5, bound=4.0)


def _block(
    features: int, context: int, width: int, depth: int, dtype: torch.dtype, neighbours: int = 0
) -> SplineCoupling:
    torch.manual_seed(features + 10 * width)
    near = torch.randint(features // 2 + context, (features - features // 2, neighbours)) if neighbours else None
    block = SplineCoupling(features, context, _SPLINE, width=width, blocks=depth, dropout=0.3, neighbours=near)
    if block.local is not None:
        torch.nn.init.normal_(block.local.weight, std=0.5)
    torch.nn.init.normal_(block.conditioner.exit.weight, std=0.5)
    return block.to(dtype).eval()


def _by_torch(block: SplineCoupling, v: torch.Tensor, context: torch.Tensor | None, inverse: bool) -> tuple:
    kept = v[:, : block.kept] if context is None else torch.cat([v[:, : block.kept], context], 1)
    raw = block.conditioner(kept).unflatten(-1, (block.moved, _SPLINE.n_parameters))
    if block.local is not None:
        raw = raw + torch.einsum("ndk,dpk->ndp", kept[:, block.local.index], block.local.weight)
    moved, log = portable_rational_quadratic(v[:, block.kept :], raw, _SPLINE, inverse=inverse)
    return torch.cat([v[:, : block.kept], moved], 1), log.sum(-1)


@given(
    features=st.integers(2, 23),
    context=st.integers(0, 3),
    width=st.integers(1, 40),
    depth=st.integers(0, 3),
    count=st.integers(0, 150),
    inverse=st.booleans(),
    neighbours=st.integers(0, 3),
)
def test_agrees_with_torch_operators(
    features: int, context: int, width: int, depth: int, count: int, inverse: bool, neighbours: int
) -> None:
    block = _block(features, context, width, depth, torch.float64, neighbours)
    v = 3 * torch.randn(count, features, dtype=torch.float64)
    known = torch.randn(count, context, dtype=torch.float64) if context else None
    with torch.no_grad():
        assert block.is_separable(v, known)
        found = (block.inverse if inverse else block.forward)(v, known)
        expected = _by_torch(block, v, known, inverse)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("neighbours", [0, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_has_the_same_bits_in_any_batch(dtype: torch.dtype, neighbours: int) -> None:
    block = _block(13, 2, 37, 2, dtype, neighbours)
    v, known = torch.randn(300, 13, dtype=dtype), torch.randn(300, 2, dtype=dtype)
    with torch.no_grad():
        whole = block.inverse(v, known)
        for rows in (slice(0, 1), slice(5, 21), slice(130, 231), slice(299, 300)):
            part = block.inverse(v[rows], known[rows])
            assert all(torch.equal(a, b[rows]) for a, b in zip(part, whole, strict=True))


def test_round_trip_and_a_changed_weight_is_noticed() -> None:
    block = _block(12, 0, 20, 1, torch.float64)
    z = torch.randn(50, 12, dtype=torch.float64)
    with torch.no_grad():
        x, log = block.inverse(z)
        back, other = block(x)
        torch.testing.assert_close(back, z, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(log, -other, rtol=1e-9, atol=1e-9)
        block.conditioner.entry.weight[3, 1] += 0.5
        assert not torch.equal(block.inverse(z)[0], x)


def test_gradients_and_dropout_take_the_differentiable_way() -> None:
    block = _block(12, 0, 20, 1, torch.float32)
    z = torch.randn(50, 12)
    assert not block.is_separable(z, None)
    block.inverse(z)[0].sum().backward()
    assert block.conditioner.entry.weight.grad is not None
    block.train()
    with torch.no_grad():
        assert not torch.equal(block.inverse(z)[0], block.inverse(z)[0])


def test_nan_stays_in_its_sample() -> None:
    block = _block(12, 0, 20, 1, torch.float32)
    z = torch.randn(40, 12)
    with torch.no_grad():
        expected = block.inverse(z)[0]
        z[7, 0] = torch.nan
        found = block.inverse(z)[0]
    assert torch.isnan(found[7, block.kept :]).any()
    others = torch.arange(40) != 7
    assert torch.equal(found[others], expected[others])
