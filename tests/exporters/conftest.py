"""A small but honest generator of the engine's own blocks: layer energies, then 5 + 3 voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation, reverse
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from exporters import ExportResult

LAYERS = (5, 3)
VOXELS = sum(LAYERS)
THRESHOLD_MEV = 5.0
SPLINE = SplineSettings(bins=6, bound=6.0, min_width=1e-3, min_height=1e-3, min_derivative=1e-3)


def sharpen(module: nn.Module) -> None:
    """Turn near-identity initial weights into those of a flow that does something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.25)


class ToySampler(nn.Module):
    """cond (N, 2): energy [GeV], theta [rad]; noise (N, 2 + 8), layer energies first; voxels (N, 8) [MeV]."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.layers = ConditionalFlow([MaskedAutoregressive(len(LAYERS), 2, (16,), SPLINE)])
        blocks = [InverseAutoregressive(VOXELS, 2 + len(LAYERS), (24, 24), SPLINE) for _ in range(2)]
        self.shapes = ConditionalFlow([blocks[0], Permutation(reverse(VOXELS)), blocks[1]])

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        energy, theta = cond[:, :1], cond[:, 1:]
        context = torch.cat([torch.log(energy) / 2 - 1, 4 * theta - 1], dim=1)
        share = torch.sigmoid(self.layers.sample(noise[:, : len(LAYERS)], context))
        total = 1e3 * energy * share[:, :1]
        energies = torch.cat([total * share[:, 1:], total * (1 - share[:, 1:])], dim=1)
        z = self.shapes.sample(noise[:, len(LAYERS) :], torch.cat([context, share], dim=1))
        parts, start = [], 0
        for layer, size in enumerate(LAYERS):
            weights = torch.exp(z[:, start : start + size].clamp(-10, 10))
            parts.append(energies[:, layer : layer + 1] * weights / weights.sum(dim=1, keepdim=True))
            start += size
        x = torch.cat(parts, dim=1)
        return torch.where(x < self.threshold, torch.zeros_like(x), x) if self.threshold else x


class ToyGenerator:
    """Meets the exporters' `Exportable` protocol."""

    task = "toy"
    noise_dim = len(LAYERS) + VOXELS

    def __init__(self) -> None:
        module = ToySampler(THRESHOLD_MEV)
        sharpen(module)
        self.state = module.state_dict()

    def sampling_module(self, *, threshold: bool = True) -> nn.Module:
        module = ToySampler(THRESHOLD_MEV if threshold else 0.0)
        module.load_state_dict(self.state)
        return module.eval()

    def export_metadata(self) -> dict[str, object]:
        return {
            "task": self.task,
            "conditions": [
                {"name": "incident_energy_gev", "unit": "GeV", "valid_range": [1.0, 100.0]},
                {"name": "theta_rad", "unit": "rad", "valid_range": [0.0, 0.5]},
            ],
            "geometry": {"name": "toy", "layers": [{"name": "a", "n": 5}, {"name": "b", "n": 3}]},
            "normalisation": "absolute energies",
            "output": {"name": "voxels", "unit": "MeV", "order": "layer by layer"},
            "threshold_mev": THRESHOLD_MEV,
            "pdg": 11,
            "provenance": {"training_data_sha256": "0" * 64, "training_seed": 3, "detector": "toy"},
        }


@pytest.fixture(scope="session")
def toy() -> ToyGenerator:
    return ToyGenerator()


@pytest.fixture(scope="session")
def stored_forms() -> Callable[[np.ndarray], list[np.ndarray]]:
    """How a weight matrix may stand in a file: as it is, transposed, or with the outputs of a feature taken apart."""

    def forms(weight: np.ndarray) -> list[np.ndarray]:
        each = SPLINE.n_parameters
        found = [weight]
        if len(weight) % each == 0:
            found.append(weight.reshape(-1, each, weight.shape[1]).swapaxes(0, 1).reshape(weight.shape))
        return [*found, *(value.T for value in found)]

    return forms


@pytest.fixture(scope="session")
def exported(toy: ToyGenerator, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The toy, exported once; tests that alter files use `copied`."""
    from exporters import to_onnx

    return to_onnx(toy, tmp_path_factory.mktemp("exported") / "toy.onnx")


@pytest.fixture
def copied(exported: ExportResult, tmp_path: Path) -> Path:
    """A copy of the exported files that a test may damage; the path of the model."""
    for file in (exported.model, exported.manifest, exported.golden, exported.card):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / exported.model.name
