"""Flow I: its preprocessing is a bijection with the right volume, and its density integrates to one."""

from __future__ import annotations

import pytest
import torch

from calofast.config import LayerEnergyConfig
from calofast.layer_energies import LayerEnergyModel


def _model(n_layers: int, *, hits: bool = False) -> tuple[LayerEnergyModel, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    incident = 1 + 99 * torch.rand(300, generator=generator, dtype=torch.float64)
    shares = torch.rand(300, n_layers, generator=generator, dtype=torch.float64) + 0.05
    energies = shares / shares.sum(1, keepdim=True) * (900 * incident)[:, None]
    energies *= 0.9 + 0.1 * torch.rand(300, 1, generator=generator, dtype=torch.float64)
    if hits:
        numbers = 40 * torch.rand(300, n_layers, generator=generator, dtype=torch.float64)
        energies = torch.cat([energies, numbers], dim=1)
    context = ((incident - 50) / 30)[:, None]
    model = LayerEnergyModel(n_layers, 1, LayerEnergyConfig(blocks=2, hidden=(8,), hits=hits), seed=1).double()
    model.fit_preprocessing(energies, incident, context)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.eval(), energies, incident, context


@pytest.mark.parametrize("hits", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 3, 5])
def test_model_space_and_back(n_layers: int, hits: bool) -> None:
    model, energies, incident, context = _model(n_layers, hits=hits)
    y, _ = model.to_model_space(energies, incident, context)
    torch.testing.assert_close(model.from_model_space(y, incident, context), energies, rtol=1e-6, atol=1e-3)
    assert float(y.mean().abs()) < 0.2
    assert float(y.std()) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("hits", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 4])
def test_log_determinant_is_that_of_autograd(n_layers: int, hits: bool) -> None:
    model, energies, incident, context = _model(n_layers, hits=hits)
    for i in range(5):
        _, log_det = model.to_model_space(energies[i : i + 1], incident[i : i + 1], context[i : i + 1])
        jacobian = torch.autograd.functional.jacobian(
            lambda e, i=i: model.to_model_space(e[None], incident[i : i + 1], context[i : i + 1])[0][0],
            energies[i],
        )
        expected = torch.linalg.slogdet(jacobian).logabsdet
        assert log_det.item() == pytest.approx(expected.item(), abs=1e-4)


def test_density_of_one_layer_integrates_to_one() -> None:
    model, energies, incident, context = _model(1)
    upper = float(model.scale) * 1000 * float(incident[0])
    grid = torch.linspace(1e-3, upper - 1e-3, 200_001, dtype=torch.float64)
    with torch.no_grad():
        density = model.log_prob(grid[:, None], incident[:1].expand(len(grid)), context[:1].expand(len(grid), -1)).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1.0, abs=2e-3)
    assert energies.max() <= float(model.scale) * 1000 * incident.max()


def test_samples_have_the_stated_density() -> None:
    model, _, incident, context = _model(1)
    generator = torch.Generator().manual_seed(8)
    noise = torch.randn(40_000, 1, generator=generator, dtype=torch.float64)
    one, where = incident[:1].expand(40_000), context[:1].expand(40_000, -1)
    with torch.no_grad():
        energies = model.sample(noise, one, where)[:, 0]
        low, high = energies.quantile(0.2), energies.quantile(0.7)
        grid = torch.linspace(float(low), float(high), 20_001, dtype=torch.float64)
        density = model.log_prob(grid[:, None], one[:20_001], where[:20_001]).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(0.5, abs=0.01)


def test_the_scale_comes_from_the_data() -> None:
    model, energies, incident, _ = _model(3)
    largest = float((energies.sum(1) / (1000 * incident)).max())
    assert largest < float(model.scale) < 1.01 * largest
