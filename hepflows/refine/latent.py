"""Weights of events pulled back to the latents that they were made from (LaSeR, arXiv 2106.00792, section 3).

A latent z of the generator g has the weight w(z) = E[w(g(z))]: what a classifier between latents with these weights and
the same latents without finds. If g has further noise that z does not tell, a z whose events have very different
weights gets their mean, and the reweighted events differ from the reference; OmniFold's iterations (arXiv 1911.09107)
estimate the weights of the events anew under the weights of their latents, until both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hepflows.classifier import RatioFit, fit_ratio
from hepflows.density_ratio import DensityRatio
from hepflows.errors import ConfigError
from hepflows.refine.event_ratio import fit_event_ratio
from hepflows.train.progress import Reporter, SilentReporter, Stage
from hepflows.train.seeding import seed_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.classifier import ClassifierConfig
    from hepflows.refine.config import PullConfig
    from hepflows.refine.samples import Samples

    Floats = NDArray[np.float64]

_WIDE = 10.0


class ContextScaler(nn.Module):
    """Physical conditions (N, C) to network inputs (N, C): standardised, their logarithm if they span decades."""

    mean: Tensor
    scale: Tensor
    logarithmic: Tensor

    def __init__(self, n_conditions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_conditions))
        self.register_buffer("scale", torch.ones(n_conditions))
        self.register_buffer("logarithmic", torch.zeros(n_conditions))

    @torch.no_grad()
    def fit(self, conditions: Tensor) -> None:
        """Learn scales from conditions (N, C)."""
        if not conditions.shape[1]:
            return
        low, high = conditions.amin(0), conditions.amax(0)
        self.logarithmic.copy_(((low > 0) & (high > _WIDE * low)).to(low.dtype))
        values = self._values(conditions)
        self.mean.copy_(values.mean(0))
        self.scale.copy_(values.std(0, unbiased=False).clamp_min(1e-6))

    def forward(self, conditions: Tensor) -> Tensor:
        """Shape (N, C) to (N, C)."""
        if not conditions.shape[1]:
            return conditions
        return (self._values(conditions) - self.mean) / self.scale

    def _values(self, conditions: Tensor) -> Tensor:
        return self.logarithmic * conditions.clamp_min(1e-12).log() + (1 - self.logarithmic) * conditions


class LatentRatio(nn.Module):
    """Log weights of latents (N, Z) under conditions (N, C)."""

    def __init__(self, latent_dim: int, n_conditions: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.scaler = ContextScaler(n_conditions)
        self.ratio = DensityRatio(latent_dim + n_conditions, hidden)

    def forward(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Log weights (N,), clipped."""
        return self.ratio(self.inputs(latents, conditions))  # type: ignore[no-any-return]

    def inputs(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Inputs (N, Z + C) of the network."""
        return torch.cat([latents, self.scaler(conditions)], dim=1)

    @property
    def learned(self) -> nn.Module:
        """What an artefact keeps."""
        return self


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """Weights in latent space.

    Attributes:
        ratio: of latents and conditions.
        events: how the weights of the events were found, one entry an iteration.
        latents: the same of the weights of latents.
    """

    ratio: LatentRatio
    events: tuple[RatioFit, ...]
    latents: tuple[RatioFit, ...]

    def summary(self) -> dict[str, Any]:
        """JSON-able figures."""
        return {
            "events": [fit.summary() for fit in self.events],
            "latents": [fit.summary() for fit in self.latents],
        }


def pull_back(
    samples: Samples,
    classifier: ClassifierConfig,
    pull: PullConfig,
    *,
    seed: int,
    device: str = "cpu",
    reporter: Reporter | None = None,
) -> Pulled:
    """Find the weights of latents that bring the generated events nearest to the reference.

    Args:
        samples: reference and generated events, with latents.
        classifier: between events.
        pull: iterations, and the classifier between latents.
        seed: of splits, initialisations and batches.
        device: torch device.
        reporter: where progress goes.

    Raises:
        ConfigError: the samples come from a generator that does not tell its latents.
        RefinementError: a classifier separates its samples, or weights explode.
    """
    if samples.latents.shape[1] == 0:
        raise ConfigError(
            "the generator does not tell the latents of its events", remedy="refine a generator that takes latents"
        )
    latents = torch.from_numpy(samples.latents)
    conditions = torch.from_numpy(samples.conditions)
    ratio = LatentRatio(latents.shape[1], conditions.shape[1], pull.classifier.hidden)
    ratio.scaler.fit(conditions)
    inputs = np.ascontiguousarray(ratio.inputs(latents, conditions).numpy())
    own = np.arange(len(inputs))
    emphasis = samples.latent_emphasis
    if emphasis is not None:
        emphasis = np.concatenate([emphasis, np.ones(conditions.shape[1], np.float32)])
    reporter = reporter or SilentReporter()
    pulled: Floats | None = None
    of_events, of_latents = [], []
    for iteration in range(pull.iterations):
        of_events.append(
            fit_event_ratio(
                samples,
                classifier,
                pulled=pulled,
                seed=seed_of(seed, "events", iteration),
                device=device,
                reporter=reporter,
            )
        )
        weights = of_events[-1].model.weights(torch.from_numpy(samples.generated).to(device))
        if pulled is not None:
            weights = weights * pulled
        # the same latents with and without weights: fluctuations of the sample do not look like weights
        with reporter.stage("classifier of latents", total=pull.classifier.epochs, unit="epochs") as stage:
            of_latents.append(
                fit_ratio(
                    inputs,
                    inputs,
                    pull.classifier,
                    weights=(weights, None),
                    groups=(own, own),
                    emphasis=emphasis,
                    seed=seed_of(seed, "latents", iteration),
                    device=device,
                    what="latents with and without weights",
                    progress=partial(_advance, stage),
                )
            )
        pulled = of_latents[-1].model.weights(torch.from_numpy(inputs).to(device))
    ratio.ratio.load_state_dict(of_latents[-1].model.cpu().state_dict())
    return Pulled(ratio=ratio.eval(), events=tuple(of_events), latents=tuple(of_latents))


def _advance(stage: Stage, _done: int, _total: int) -> None:
    stage.advance()
