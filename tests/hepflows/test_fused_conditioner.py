"""Fused training steps: the same numbers and gradients as torch's operators, whatever network, batch and threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepflows import coupling, fused_arrays, fused_conditioner, incremental
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.coupling import SplineCoupling
from hepflows.precision import current_precision, matmul_precision
from hepflows.splines import SplineSettings

FUSED_FROM = 32
SPLINE = SplineSettings(bins=4, bound=4.0)


def _bend(block: torch.nn.Module) -> torch.nn.Module:
    for name, parameter in block.named_parameters():
        if "output.weight" in name or "exit.weight" in name or "local.weight" in name:
            torch.nn.init.normal_(parameter, std=0.4)
    return block


def _maf(features: int, context: int, hidden: list[int], *, kind: type = MaskedAutoregressive, **options: Any) -> Any:
    torch.manual_seed(features + 7 * sum(hidden))
    return _bend(kind(features, context, hidden, SPLINE, **options))


def _coupling(features: int, context: int, width: int, depth: int, *, dropout: float = 0.0, neighbours: int = 0) -> Any:
    torch.manual_seed(features + width)
    near = torch.randint(features // 2 + context, (features - features // 2, neighbours)) if neighbours else None
    options = {"width": width, "blocks": depth, "dropout": dropout, "neighbours": near}
    return _bend(SplineCoupling(features, context, SPLINE, **options))


def _results(block: Any, x: torch.Tensor, context: torch.Tensor | None, *, inverse: bool) -> list[torch.Tensor]:
    """Outputs, and gradients of an uneven function of them to data, context and all parameters."""
    x = x.detach().clone().requires_grad_()
    given = [x]
    if context is not None:
        context = context.detach().clone().requires_grad_()
        given.append(context)
    y, log_det = (block.inverse if inverse else block.forward)(x, context)
    loss = (y * torch.linspace(0.5, 1.5, y.shape[1], dtype=y.dtype)).sum() + (log_det * log_det).sum()
    gradients = torch.autograd.grad(loss, [*given, *block.parameters()])
    return [y.detach(), log_det.detach(), *gradients]


def _unfused(patch: pytest.MonkeyPatch) -> None:
    for module in (coupling, incremental):
        patch.setattr(module, "can_fuse", lambda *_: False)


def _compare(block: Any, x: torch.Tensor, context: torch.Tensor | None, *, inverse: bool, tolerance: float) -> None:
    fused = _results(block, x, context, inverse=inverse)
    with pytest.MonkeyPatch.context() as patch:
        _unfused(patch)
        expected = _results(block, x, context, inverse=inverse)
    for ours, theirs in zip(fused, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max() + 1))


@given(
    features=st.integers(1, 20),
    context=st.integers(0, 3),
    hidden=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    count=st.integers(FUSED_FROM, 200),
    sequential=st.booleans(),
    iaf=st.booleans(),
)
def test_masked_networks_in_float64(
    features: int, context: int, hidden: list[int], count: int, sequential: bool, iaf: bool
) -> None:
    kind = InverseAutoregressive if iaf else MaskedAutoregressive
    block = _maf(features, context, hidden, kind=kind, degrees="sequential" if sequential else "even").double()
    x = 2 * torch.randn(count, features, dtype=torch.float64)
    known = torch.randn(count, context, dtype=torch.float64) if context else None
    _compare(block, x, known, inverse=iaf, tolerance=1e-9)


@given(
    features=st.integers(2, 20),
    context=st.integers(0, 3),
    width=st.integers(1, 40),
    depth=st.integers(0, 3),
    count=st.integers(FUSED_FROM, 200),
    inverse=st.booleans(),
    neighbours=st.integers(0, 9),
)
def test_coupling_in_float64(
    features: int, context: int, width: int, depth: int, count: int, inverse: bool, neighbours: int
) -> None:
    block = _coupling(features, context, width, depth, neighbours=neighbours).double()
    x = 2 * torch.randn(count, features, dtype=torch.float64)
    known = torch.randn(count, context, dtype=torch.float64) if context else None
    _compare(block, x, known, inverse=inverse, tolerance=1e-9)


def test_the_fused_step_is_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    real = fused_conditioner.conditioned_spline
    monkeypatch.setattr(fused_conditioner, "conditioned_spline", lambda *a, **k: called.append(1) or real(*a, **k))
    _maf(9, 2, [16, 16])(torch.randn(64, 9), torch.randn(64, 2))
    _coupling(9, 0, 16, 2)(torch.randn(64, 9))
    assert len(called) == 2


def test_float32_agrees_within_rounding() -> None:
    _compare(_maf(30, 3, [50, 50]), torch.randn(300, 30), torch.randn(300, 3), inverse=False, tolerance=2e-4)
    for neighbours in (0, 5, 17):
        block = _coupling(30, 3, 50, 2, neighbours=neighbours)
        _compare(block, torch.randn(300, 30), torch.randn(300, 3), inverse=False, tolerance=2e-4)


@pytest.mark.parametrize("kind", ["maf", "coupling"])
@pytest.mark.parametrize("threads", [2, 3])
def test_bits_do_not_depend_on_threads(threads: int, kind: str) -> None:
    block = {"maf": _maf(40, 2, [60, 60]), "coupling": _coupling(400, 2, 20, 1, neighbours=5)}[kind]
    x, context = torch.randn(500, 40 if kind == "maf" else 400), torch.randn(500, 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = _results(block, x, context, inverse=False)
        torch.set_num_threads(threads)
        together = _results(block, x, context, inverse=False)
    finally:
        torch.set_num_threads(before)
    # the first layer's input gradient is added up by torch itself where data and context part
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("make", [lambda: _maf(5, 0, [12]), lambda: _coupling(5, 0, 12, 1, neighbours=2)])
def test_data_events_beyond_the_tails_and_second_derivatives(make: Any) -> None:
    block = make().double()
    x = torch.cat([torch.randn(40, 5), 100 * torch.randn(24, 5)]).double()
    _compare(block, x, None, inverse=False, tolerance=1e-9)
    x = torch.randn(FUSED_FROM, 5, dtype=torch.float64, requires_grad=True)
    y, log_det = block(x)
    (first,) = torch.autograd.grad((y**2).sum() + log_det.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    with pytest.MonkeyPatch.context() as patch:
        _unfused(patch)
        y, log_det = block(x)
        (expected,) = torch.autograd.grad((y**2).sum() + log_det.sum(), x, create_graph=True)
        (expected,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(second, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "make", [lambda: _maf(8, 0, [64, 64], dropout=0.4), lambda: _coupling(8, 0, 64, 1, dropout=0.4)]
)
def test_dropout_is_unbiased_and_off_in_evaluation(make: Any) -> None:
    block, x = make().double(), torch.randn(4000, 8, dtype=torch.float64)
    assert block.training
    torch.manual_seed(1)
    first = block(x)[0]
    torch.manual_seed(1)
    assert torch.equal(first, block(x)[0])
    assert not torch.equal(first, block(x)[0])
    # the spread that dropout makes is the same as in torch's operators
    spread = (block(x)[0] - block(x)[0]).std()
    with pytest.MonkeyPatch.context() as patch:
        _unfused(patch)
        expected = (block(x)[0] - block(x)[0]).std()
    assert abs(float((spread / expected).detach()) - 1) < 0.1
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])


def test_bfloat16_is_close_and_only_inside_of_its_block() -> None:
    block, x = _maf(30, 0, [50, 50]), torch.randn(300, 30)
    exact = _results(block, x, None, inverse=False)
    assert current_precision() == "float32"
    with matmul_precision("bfloat16"):
        assert current_precision() == "bfloat16"
        rounded = _results(block, x, None, inverse=False)
    assert current_precision() == "float32"
    assert not torch.equal(rounded[0], exact[0])
    # gradients of weights: 8 bits of precision in the factors
    for ours, theirs in zip(rounded[2:], exact[2:], strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 0.03


def test_a_frozen_network_still_gives_the_gradient_to_data() -> None:
    block = _maf(10, 2, [20, 20]).double()
    for parameter in block.parameters():
        parameter.requires_grad_(requires_grad=False)
    x = torch.randn(64, 10, dtype=torch.float64, requires_grad=True)
    context = torch.randn(64, 2, dtype=torch.float64)
    (found,) = torch.autograd.grad(block(x, context)[1].sum(), x)
    with pytest.MonkeyPatch.context() as patch:
        _unfused(patch)
        (expected,) = torch.autograd.grad(block(x, context)[1].sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


class _Dirty:
    """A workspace whose memory holds anything but numbers."""

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: Any) -> Any:
        array = np.empty(shape, dtype)
        array.view(np.uint8).fill(0xFF)  # NaN as a float
        return array


@pytest.mark.parametrize("count", [33, 64, 130, 200])
def test_nothing_is_read_that_was_not_written(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_arrays, "workspace", _Dirty)
    _compare(
        _maf(7, 2, [30, 50]).double(),
        torch.randn(count, 7).double(),
        torch.randn(count, 2).double(),
        inverse=False,
        tolerance=1e-9,
    )
    for neighbours in (0, 2):
        block = _coupling(7, 0, 30, 2, neighbours=neighbours).double()
        _compare(block, torch.randn(count, 7).double(), None, inverse=True, tolerance=1e-9)
