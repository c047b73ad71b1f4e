"""Training with factors of bfloat16 where torch's autocast rounds them, on GPUs above all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from hepflows import precision
from hepflows.affine import AffineCoupling
from hepflows.autoregressive import MaskedAutoregressive
from hepflows.coupling import SplineCoupling
from hepflows.flow import ConditionalFlow
from hepflows.precision import matmul_precision, rounded, rounded_on_accelerator
from hepflows.splines import SplineSettings
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.settings import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable

SPLINE = SplineSettings(bins=4, bound=4.0)
BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "spline coupling": lambda: SplineCoupling(4, 0, SPLINE, width=16, blocks=1),
    "affine coupling": lambda: AffineCoupling(4, 0, width=16, blocks=1),
    "masked": lambda: MaskedAutoregressive(4, 0, [16], SPLINE),
}


def test_products_are_rounded_and_results_are_not() -> None:
    torch.manual_seed(1)
    layer, x = nn.Linear(50, 3), torch.randn(9, 50)
    exact = layer(x)
    with matmul_precision("bfloat16"):
        found = rounded(lambda: layer(x), x)
        assert torch.equal(rounded_on_accelerator(lambda: layer(x), x), exact)  # on the CPU the fused kernels round
        with torch.no_grad():
            assert torch.equal(rounded(lambda: layer(x), x), exact)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.02)
    found.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    assert torch.equal(rounded(lambda: layer(x), x), exact)
    layer.double()
    with matmul_precision("bfloat16"):
        assert torch.equal(rounded(lambda: layer(x.double()), x.double()), layer(x.double()))


@pytest.mark.parametrize("name", BLOCKS)
def test_networks_of_flows_are_rounded_away_from_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU in place of a GPU: with so few events that the fused kernels are not used."""
    monkeypatch.setattr(precision, "_KERNELS_ROUND", frozenset())
    torch.manual_seed(2)
    block = BLOCKS[name]()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.4)
    x = torch.randn(8, 4)
    exact, exact_log_det = block(x)
    with matmul_precision("bfloat16"):
        found, log_det = block(x)
    assert found.dtype == log_det.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)
    torch.testing.assert_close(log_det, exact_log_det, rtol=0.1, atol=0.1)
    log_det.sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in block.parameters() if parameter.grad is not None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", BLOCKS)
def test_training_on_a_gpu_converges_as_well(name: str) -> None:
    losses = {}
    for kind in ("float32", "bfloat16"):
        torch.manual_seed(3)
        x = torch.randn(2000, 4, device="cuda").cumsum(1)
        flow = ConditionalFlow([BLOCKS[name]()]).to("cuda")
        settings = TrainingConfig.model_validate({"epochs": 5, "batch_size": 100, "matmul_precision": kind})
        objective = MaximumLikelihood(
            flow, lambda index, x=x: (x[index.to(x.device)], None), lambda x=x: (x[1800:], None)
        )
        losses[kind] = fit(flow, objective, 1800, settings, seed=1).best_loss
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.1)
