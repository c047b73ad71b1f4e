"""Points in the plane whose density has holes: the toys of LaSeR (arXiv 2106.00792), with parameters of our own.

* `gaussians`: four Gaussians of width 0.25 at (+-1, +-1);
* `donuts`: two rings of radius 1 and width 0.1 that touch, at (+-1.1, 0);
* `rings`: three concentric rings of radii 0.6, 1.2 and 1.8 and width 0.08, the same number of points in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hepflows.affine import AffineCoupling
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.errors import ConfigError
from hepflows.flow import ConditionalFlow
from hepflows.sampler import sample_in_tiles
from hepflows.splines import SplineSettings
from hepflows.train.loop import fit
from hepflows.train.seeding import seeded
from hepflows.train.settings import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hepflows.train.progress import Reporter

    Floats = NDArray[np.float32]

TOYS = ("gaussians", "donuts", "rings")
_WIDTH = 32
REACH = 2.6
"""Histograms cover [-REACH, REACH] in both directions; points beyond count in the outermost bins."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of the plane, (N, 2), and their weights (N,) if they have any."""

    values: Floats
    weights: NDArray[np.floating[Any]] | None = None

    def __len__(self) -> int:
        return len(self.values)


def true_points(toy: str, n: int, *, seed: int) -> Points:
    """Draw n points of a toy's density."""
    random = np.random.default_rng(seed)
    if toy == "gaussians":
        values = random.choice([-1.0, 1.0], (n, 2)) + 0.25 * random.normal(size=(n, 2))
        return Points(values.astype(np.float32))
    angle = random.uniform(0, 2 * np.pi, n)
    if toy == "donuts":
        radius, centre = random.normal(1.0, 0.1, n), np.stack([random.choice([-1.1, 1.1], n), np.zeros(n)], axis=1)
    else:
        radius, centre = random.choice([0.6, 1.2, 1.8], n) + 0.08 * random.normal(size=n), np.zeros((n, 2))
    values = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Points(values.astype(np.float32))


class PlaneGenerator:
    """A coupling flow in the plane; meets `hepflows.refine.adapter.LatentGenerator`."""

    task, kind, condition_names, noise_dim = "plane", "coupling", (), 2

    def __init__(self, flow: ConditionalFlow) -> None:
        self.flow = flow.eval()

    def sample(
        self,
        conditions: Mapping[str, Any],
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: str = "error",
        latents: Floats | None = None,
    ) -> Points:
        """Points for noise that follows from the seed, or for given latents."""
        del out_of_range
        nothing = self.condition_matrix(conditions, n=n if latents is None else len(latents))
        values = sample_in_tiles(
            lambda _, noise, rows: self.flow.sample(noise, rows=rows),
            nothing,
            2,
            seed=seed,
            first_event=first_event,
            latents=latents,
        )
        return Points(values)

    def sampling_module(self) -> nn.Module:
        """Conditions (N, 0) and noise (N, 2) to points (N, 2)."""
        return _Sampling(self.flow)

    def condition_matrix(self, conditions: Mapping[str, Any], *, n: int | None = None) -> Floats:
        """No conditions, (n, 0)."""
        del conditions
        return np.empty((n or 0, 0), np.float32)


class _Sampling(nn.Module):
    def __init__(self, flow: ConditionalFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, _: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.flow.sample(noise)


class PlaneAdapter:
    """Meets `hepflows.refine.adapter.Adapter`."""

    def conditions(self, events: Points) -> dict[str, Any]:
        """None."""
        del events
        return {}

    def numbers(self, generator: PlaneGenerator, events: Points) -> Floats:
        """The points."""
        del generator
        return events.values

    def features(self, generator: PlaneGenerator) -> nn.Module:
        """The points themselves."""
        del generator
        return _Coordinates()

    def latent_emphasis(self, generator: PlaneGenerator) -> None:
        """None."""
        del generator

    def fine_tuning(self, generator: PlaneGenerator, events: Points, *, device: str) -> Any:
        """Refuse: this benchmark does not fine-tune."""
        del events, device
        raise ConfigError("the plane has no fine-tuning", found=generator.kind)


class _Coordinates(nn.Module):
    def forward(self, x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return x


class _Likelihood:
    def __init__(self, flow: ConditionalFlow, training: torch.Tensor, held_out: torch.Tensor) -> None:
        self._flow, self._training, self._held_out = flow, training, held_out

    def training_loss(self, index: torch.Tensor) -> torch.Tensor:
        return -self._flow.log_prob(self._training[index]).mean()

    def validation_loss(self) -> float:
        return -float(self._flow.log_prob(self._held_out).mean())


def baseline(
    points: Points, *, transform: str, blocks: int, epochs: int, seed: int, directory: Path, reporter: Reporter
) -> PlaneGenerator:
    """A small coupling flow trained by likelihood; it goes on from the checkpoint in `directory`.

    Args:
        points: training points.
        transform: `affine`, which leaves bridges between separate parts of a density, or `spline`.
        blocks: coupling blocks.
        epochs: passes over the points.
        seed: of weights and batches.
        directory: for the checkpoint.
        reporter: where progress goes.
    """
    spline = SplineSettings(bins=8, bound=5.0, min_width=1e-3, min_height=1e-3, min_derivative=1e-3)
    with seeded(seed):
        make: Callable[[], nn.Module] = partial(AffineCoupling, 2, 0, width=_WIDTH, blocks=1)
        if transform == "spline":
            make = partial(SplineCoupling, 2, 0, spline, width=_WIDTH, blocks=1)
        generator = torch.Generator().manual_seed(seed)
        flow = ConditionalFlow(coupling_blocks(2, make, blocks=blocks, generator=generator))
    values = torch.from_numpy(points.values)
    held_out = min(len(values) // 10, 20_000)
    training = values[held_out:]
    fit(
        flow,
        _Likelihood(flow, training, values[:held_out]),
        len(training),
        TrainingConfig(epochs=epochs, batch_size=1000, learning_rate=2e-3, schedule="cosine"),
        seed=seed,
        title="baseline",
        directory=directory,
        resume=True,
        reporter=reporter,
    )
    return PlaneGenerator(flow)
