"""A second flow on the weighted latent space (LaSeR, arXiv 2106.00792, section 3.2).

It is trained by likelihood, -w(z) log q(z), on latents drawn anew at every step: the pulled-back weights are a function
of the latent, so that there is no sample to overfit.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.draws import integers, normal
from hepflows.errors import ConfigError
from hepflows.flow import ConditionalFlow
from hepflows.refine.latent import ContextScaler
from hepflows.splines import SplineSettings
from hepflows.train.loop import FitResult, fit
from hepflows.train.seeding import seeded

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from hepflows.refine.config import RefinerFlowConfig
    from hepflows.refine.latent import LatentRatio
    from hepflows.train.progress import Reporter

_LEAST_SIZE = 1e-3


class RefinerFlow(nn.Module):
    """Noise (N, Z) to latents (N, Z) under conditions (N, C)."""

    def __init__(self, latent_dim: int, n_conditions: int, config: RefinerFlowConfig, *, seed: int) -> None:
        super().__init__()
        if latent_dim < 2:
            raise ConfigError(
                "a coupling flow needs two latents at least", found=latent_dim, remedy="refine by laser-gan or hmc"
            )
        self.latent_dim = latent_dim
        self.scaler = ContextScaler(n_conditions)
        spline = SplineSettings(
            bins=config.bins,
            bound=config.bound,
            min_width=_LEAST_SIZE,
            min_height=_LEAST_SIZE,
            min_derivative=_LEAST_SIZE,
        )
        make = partial(SplineCoupling, latent_dim, n_conditions, spline, width=config.width, blocks=config.depth)
        generator = torch.Generator().manual_seed(seed)
        self.flow = ConditionalFlow(coupling_blocks(latent_dim, make, blocks=config.blocks, generator=generator))

    def forward(self, conditions: Tensor, noise: Tensor) -> Tensor:
        """Latents from noise."""
        return self.flow.sample(noise, self._context(conditions))

    def log_prob(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Log density (N,) of latents (N, Z)."""
        return self.flow.log_prob(latents, self._context(conditions))

    def _context(self, conditions: Tensor) -> Tensor | None:
        return self.scaler(conditions) if conditions.shape[1] else None


class _WeightedLatents:
    """Mean of w(z) (log N(z) - log q(z)) over fresh latents: up to a constant the divergence of target and flow."""

    def __init__(self, flow: RefinerFlow, ratio: LatentRatio, conditions: Tensor, *, held_out: int) -> None:
        self._flow, self._ratio, self._conditions, self._held_out = flow, ratio, conditions, held_out

    def training_loss(self, index: Tensor) -> Tensor:
        """Loss of as many fresh latents as there are indices."""
        return self._loss(len(index))

    def validation_loss(self) -> float:
        """Loss of latents that are the same at every call."""
        return float(self._loss(self._held_out))

    def _loss(self, n: int) -> Tensor:
        device = self._conditions.device
        z = normal((n, self._flow.latent_dim), device=device)
        rows = integers(len(self._conditions), n, device=device)
        conditions = self._conditions[rows]
        with torch.no_grad():
            weights = self._ratio(z, conditions).exp()
        gain = self._flow.log_prob(z, conditions) - self._flow.flow.base.log_prob(z)  # type: ignore[operator]
        loss: Tensor = -(weights * gain).mean()
        return loss


def train_flow(
    ratio: LatentRatio,
    conditions: Tensor,
    config: RefinerFlowConfig,
    *,
    seed: int,
    directory: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> tuple[RefinerFlow, FitResult]:
    """Train the second flow.

    Args:
        ratio: weights of latents.
        conditions: conditions (M, C) under which events will be made, on the training device.
        config: network and training.
        seed: of initial weights and latents.
        directory: for checkpoints.
        resume: continue from the checkpoint there.
        reporter: where progress goes.
    """
    device = conditions.device
    ratio = ratio.to(device).eval()
    with seeded(seed):
        flow = RefinerFlow(ratio.latent_dim, conditions.shape[1], config, seed=seed).to(device)
    flow.scaler.fit(conditions)
    result = fit(
        flow,
        _WeightedLatents(flow, ratio, conditions, held_out=min(config.events, 10_000)),
        config.events,
        config.training,
        seed=seed,
        title="second flow (LaSeR)",
        directory=directory,
        resume=resume,
        reporter=reporter,
    )
    return flow.eval(), result
