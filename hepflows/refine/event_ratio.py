"""Weights of events w = p_reference / p_generated, from samples of both, and as a function of the latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from hepflows.classifier import RatioFit, fit_ratio
from hepflows.errors import ConfigError
from hepflows.train.progress import Reporter, SilentReporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.classifier import ClassifierConfig
    from hepflows.density_ratio import DensityRatio
    from hepflows.refine.samples import Samples


def fit_event_ratio(
    samples: Samples,
    classifier: ClassifierConfig,
    *,
    pulled: NDArray[np.float64] | None = None,
    seed: int,
    device: str = "cpu",
    reporter: Reporter | None = None,
) -> RatioFit:
    """Fit the classifier between reference and generated events.

    Args:
        samples: both.
        classifier: network, calibration and limits.
        pulled: weights of the generated events so far, (M,).
        seed: of split, initialisation and batches.
        device: torch device.
        reporter: where progress goes.

    Raises:
        DataError: the samples cannot be compared.
        RefinementError: the classifier separates them, or weights explode.
    """
    with (reporter or SilentReporter()).stage("classifier", total=classifier.epochs, unit="epochs") as stage:
        return fit_ratio(
            samples.reference,
            samples.generated,
            classifier,
            weights=(samples.reference_weights, pulled),
            emphasis=samples.emphasis,
            groups=samples.groups,
            seed=seed,
            device=device,
            progress=lambda _done, _total: stage.advance(),
        )


_TOGETHER: Final = 1000  # events that are made at once where nothing is learnt


class EventWeights(nn.Module):
    """Log weight of the event that a generator makes of latents, log w(g(z)), with its gradient.

    Only a generator whose latents tell all of its event has such a weight. Networks here are not trained.

    Args:
        sampler: cond (N, C), latents (N, Z) to events (N, D).
        features: events and conditions to inputs of the classifier.
        ratio: of the events.
        latent_dim: number of latents Z.
    """

    def __init__(self, sampler: nn.Module, features: nn.Module, ratio: DensityRatio, *, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.sampler, self.features, self.ratio = sampler, features, ratio
        self.requires_grad_(requires_grad=False)

    def forward(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Latents (N, Z) under conditions (N, C) to log weights (N,), clipped."""
        if torch.is_grad_enabled():
            return self._log_weights(latents, conditions)
        # inputs of pairs of constituents take much memory
        parts = zip(latents.split(_TOGETHER), conditions.split(_TOGETHER), strict=True)
        return torch.cat([self._log_weights(*part) for part in parts])

    def _log_weights(self, latents: Tensor, conditions: Tensor) -> Tensor:
        events = self.sampler(conditions, latents)
        log_weights: Tensor = self.ratio(self.features(events, conditions))
        return log_weights

    @property
    def learned(self) -> nn.Module:
        """What an artefact keeps: the generator has one of its own."""
        return self.ratio


def require_gradient(
    sampler: nn.Module, features: nn.Module, latents: Tensor, conditions: Tensor, *, where: str
) -> None:
    """Refuse events without a gradient by their latents: nothing would be learnt from them, in silence.

    Args:
        sampler: cond (N, C), latents (N, Z) to events (N, D).
        features: events and conditions to inputs of the classifier.
        latents: some latents (N, Z).
        conditions: their conditions (N, C).
        where: setting that asks for gradients, for the message.

    Raises:
        ConfigError: the generator works beside torch's gradients, or they are not finite.
    """
    with torch.enable_grad():
        at = latents.clone().requires_grad_()
        inputs = features(sampler(conditions, at), conditions)
        gradient = torch.autograd.grad(inputs.sum(), at, allow_unused=True)[0] if inputs.requires_grad else None
    remedy = "refine by rejection, laser-gan or, with flow.objective = weights, laser-flow, which need none"
    if gradient is None or not bool(gradient.any()):
        raise ConfigError(
            "no gradient leads from the events of this generator to their latents",
            where=where,
            found=type(sampler).__name__,
            remedy=remedy,
        )
    if not bool(torch.isfinite(gradient).all()):
        bad = int((~torch.isfinite(gradient)).any(1).sum())
        raise ConfigError(
            "gradients of events by their latents are not finite",
            where=where,
            found=f"{bad} of {len(gradient)} events",
            remedy=remedy,
        )
