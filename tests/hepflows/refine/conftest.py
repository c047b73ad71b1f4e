"""A generator of points in the plane whose refined latents are known: g(z) = z, or g(z, u) = z + u with u ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from hepflows.classifier import ClassifierConfig
from hepflows.document import GeneratorDocument
from hepflows.philox import normal_noise
from hepflows.refine.config import HmcConfig, PullConfig, RefineConfig, RefinerFlowConfig, RefinerGanConfig
from hepflows.train.settings import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

SHIFT = np.array([0.6, -0.3])
CLASSIFIER = ClassifierConfig(hidden=(16, 16), epochs=6, learning_rate=5e-3, calibration="affine")
CONFIG = RefineConfig(
    copies=1,
    classifier=CLASSIFIER,
    pull=PullConfig(classifier=CLASSIFIER),
    hmc=HmcConfig(step=0.2, leapfrog=8, chains=50, burn_in=50, draws=100, candidates=16, transitions=3),
    flow=RefinerFlowConfig(
        blocks=2, width=16, events=4000, training=TrainingConfig(epochs=5, batch_size=200, learning_rate=5e-3)
    ),
    gan=RefinerGanConfig(hidden=(32,), steps=400, batch_size=200, learning_rate=2e-3),
)


@dataclass(frozen=True)
class Points:
    values: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)


class PlaneGenerator:
    task, condition_names, kind = "plane", (), "plane"

    def __init__(self, noise_dim: int = 2, *, ignored: int = 0) -> None:
        self.noise_dim, self.ignored = noise_dim, ignored

    @property
    def document(self) -> dict[str, Any]:
        document = GeneratorDocument(task="plane", kind="plane", config={}, units={}, geometry={}, valid_range={})
        return document.to_dict()

    def sample(
        self,
        conditions: Mapping[str, Any],
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: str = "error",
        latents: np.ndarray | None = None,
    ) -> Points:
        if latents is None:
            latents = normal_noise(seed, first_event, n or 0, self.noise_dim)
        if self.ignored:  # noise that the latents do not tell
            latents = latents + normal_noise(seed, first_event, len(latents), self.noise_dim, stream=7)
        return Points(latents)

    def condition_matrix(self, conditions: Mapping[str, Any], *, n: int | None = None) -> np.ndarray:
        return np.empty((n or 0, 0), np.float32)

    def draw_conditions(self, n: int, **_: Any) -> dict[str, Any]:
        return {}

    def check_conditions(self, conditions: Mapping[str, Any]) -> None:
        pass

    def save(self, directory: Any, *, force: bool = False) -> Any:
        raise NotImplementedError

    def sampling_module(self, *, threshold: bool = True) -> nn.Module:
        return _Identity()

    def export_metadata(self) -> dict[str, Any]:
        return {"task": "plane", "conditions": [], "output": {"name": "points", "unit": "1", "order": "x, y"}}


class _Identity(nn.Module):
    def forward(self, cond: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return noise


class _First(nn.Module):
    def forward(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        return x


class PlaneAdapter:
    def conditions(self, events: Points) -> Mapping[str, Any]:
        return {}

    def numbers(self, generator: PlaneGenerator, events: Points) -> np.ndarray:
        return events.values.astype(np.float32)

    def features(self, generator: PlaneGenerator) -> nn.Module:
        return _First()

    def latent_emphasis(self, generator: PlaneGenerator) -> None:
        del generator

    def fine_tuning(self, generator: PlaneGenerator, events: Points, *, device: str) -> Any:
        raise NotImplementedError


def shifted(n: int, *, seed: int = 5, spread: float = 1.0) -> Points:
    values = np.random.default_rng(seed).normal(size=(n, 2)) * spread + SHIFT
    return Points(values.astype(np.float32))


@pytest.fixture
def plane() -> PlaneGenerator:
    return PlaneGenerator()


@pytest.fixture
def ignoring() -> PlaneGenerator:
    return PlaneGenerator(ignored=2)


@pytest.fixture
def adapter() -> PlaneAdapter:
    return PlaneAdapter()


@pytest.fixture
def config() -> RefineConfig:
    return CONFIG


@pytest.fixture
def shift() -> np.ndarray:
    return SHIFT


@pytest.fixture
def reference() -> Points:
    return shifted(6000)


@pytest.fixture
def reference_of() -> Any:
    return shifted
