"""The layer-by-layer transformation: exact inverse and determinant, who depends on whom, and its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import scipy.stats
import torch

from calofast.config import CaloFlowConfig, CouplingConfig
from calofast.inductive import LayerByLayer
from calofast.layer import Layer
from hepflows.config import build
from hepflows.errors import ArtefactError, ConfigError
from hepflows.flow import ConditionalFlow

if TYPE_CHECKING:
    from collections.abc import Callable

    from calofast.showers import Showers

LAYERS = (3, 4, 4, 4, 2)
CONTEXT = 2


def _layers(sizes: tuple[int, ...]) -> list[Layer]:
    """A row of cells each."""
    return [
        Layer(name=f"z{number}", kind="regular", x_edges_mm=tuple(range(size + 1)), y_edges_mm=(0, 1))
        for number, size in enumerate(sizes)
    ]


def _transform(layers: tuple[int, ...] = LAYERS, seed: int = 1) -> LayerByLayer:
    torch.manual_seed(seed)
    transform = LayerByLayer(
        _layers(layers), CONTEXT, CouplingConfig(blocks=3, width=12, depth=1, dropout=0.0), seed=seed
    )
    for parameter in transform.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return transform.double().eval()


def _events(n: int = 6, layers: tuple[int, ...] = LAYERS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return tuple(torch.randn(n, k, dtype=torch.float64, generator=generator) for k in (sum(layers), CONTEXT))  # type: ignore[return-value]


@torch.no_grad()
def test_layer_by_layer_inverts_itself() -> None:
    transform, (x, context) = _transform(), _events()
    z, log_det = transform(x, context)
    back, inverse_log_det = transform.inverse(z, context)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-9)


def test_log_determinant_is_that_of_the_jacobian() -> None:
    transform, (x, context) = _transform(), _events()
    _, log_det = transform(x, context)
    for row in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, row=row: transform(v[None], context[row : row + 1])[0][0],  # type: ignore[misc]
            x[row],
        )
        assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(log_det[row].item(), abs=1e-9)


def test_a_layer_depends_on_itself_and_the_layer_in_front() -> None:
    transform, (x, context) = _transform(), _events(1)
    jacobian = torch.autograd.functional.jacobian(lambda v: transform(v, context)[0][0], x)[:, 0]
    starts = [sum(LAYERS[:layer]) for layer in range(len(LAYERS) + 1)]
    for layer in range(len(LAYERS)):
        for other in range(len(LAYERS)):
            block = jacobian[starts[layer] : starts[layer + 1], starts[other] : starts[other + 1]]
            assert bool(block.any()) == (other in (layer - 1, layer)), (layer, other)


def test_alike_layers_share_a_network_that_tells_them_apart() -> None:
    transform = _transform()
    assert transform.groups == [[0], [1], [2, 3], [4]]
    x, context = _events(1)
    x[:, 3:15] = 0.7  # three equal layers in a row
    with torch.no_grad():
        z, _ = transform(x, context)
    assert not torch.allclose(z[:, 7:11], z[:, 11:15])


def test_two_layers_of_two_voxels_are_normalised() -> None:
    """Importance sampling with a wide Student t integrates the density to one."""
    layers = (2, 2)
    flow = ConditionalFlow([_transform(layers, seed=3)]).eval()
    generator = torch.Generator().manual_seed(1)
    proposal = torch.distributions.StudentT(torch.tensor(4.0, dtype=torch.float64), scale=1.3)
    uniform = torch.rand(400_000, 4, dtype=torch.float64, generator=generator)
    x = torch.from_numpy(scipy.stats.t.ppf(uniform.numpy(), 4) * 1.3)
    with torch.no_grad():
        weight = (
            flow.log_prob(x, torch.ones(len(x), CONTEXT, dtype=torch.float64)) - proposal.log_prob(x).sum(1)
        ).exp()
    error = weight.std() / len(x) ** 0.5
    assert error < 0.02
    assert weight.mean().item() == pytest.approx(1.0, abs=5 * error.item())


@pytest.mark.parametrize("architecture", ["coupling", "inductive"])
def test_fast_architectures_have_no_student(
    architecture: str, make_showers: Callable[..., Showers], make_config: Callable[..., CaloFlowConfig]
) -> None:
    from calofast.training import CaloFlow, distill, fit

    with pytest.raises(ConfigError, match="leave the table \\[student\\] out"):
        make_config(architecture=architecture)
    showers = make_showers(100)
    network = {"blocks": 2, "width": 8, "training": {"epochs": 1}}
    config = make_config(
        architecture=architecture,
        student=None,
        layer_energies={"blocks": 1, "hidden": [8], "training": {"epochs": 1}},
        **{architecture: network},
    )
    generator = fit(CaloFlow(showers.geometry, config), showers)
    assert generator.kind == architecture
    with pytest.raises(ArtefactError, match="only a teacher can be distilled"):
        distill(generator, showers)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ConfigError, match="architecture"):
        build(CaloFlowConfig, {"architecture": "diffusion"}, where="test")
