"""A second flow on the weighted latent space (LaSeR, arXiv 2106.00792, section 3.2).

It is trained on latents drawn anew at every step, as weights are a function of the latent: there is no sample to
overfit. Either by likelihood, -w(z) log q(z), which is the divergence of target and flow, or by the reverse divergence,
of flow and target, whose gradient leads through the weight. The first learns from weights alone, a number an event,
and hardly finds what hangs on hundreds of latents together; the second knows for each latent where the weight grows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from hepflows.autoregressive_flow import LEAST_BIN
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.draws import integers, normal
from hepflows.errors import ConfigError
from hepflows.flow import ConditionalFlow
from hepflows.refine.latent import ContextScaler
from hepflows.splines import SplineSettings
from hepflows.train.checkpoint import identity
from hepflows.train.loop import FitResult, fit
from hepflows.train.seeding import seeded

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from hepflows.refine.config import RefinerFlowConfig
    from hepflows.refine.refiner import LatentWeights
    from hepflows.train.progress import Reporter

_HELD_OUT: Final = 10_000


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
            min_width=LEAST_BIN,
            min_height=LEAST_BIN,
            min_derivative=LEAST_BIN,
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

    def drawn(self, noise: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (N, Z) from noise, and their log densities (N,)."""
        latents, log_det = self.flow.inverse(noise, self._context(conditions))
        log_prob: Tensor = self.flow.base.log_prob(noise) - log_det  # type: ignore[operator]
        return latents, log_prob

    def _context(self, conditions: Tensor) -> Tensor | None:
        return self.scaler(conditions) if conditions.shape[1] else None


def _weighted(flow: RefinerFlow, weights: LatentWeights, noise: Tensor, conditions: Tensor) -> Tensor:
    """w(z) (log N(z) - log q(z)): its mean is the divergence of target and flow, up to a constant."""
    with torch.no_grad():
        factors = weights(noise, conditions).exp()
    gain = flow.log_prob(noise, conditions) - flow.flow.base.log_prob(noise)  # type: ignore[operator]
    loss: Tensor = -factors * gain
    return loss


def _reverse(flow: RefinerFlow, weights: LatentWeights, noise: Tensor, conditions: Tensor) -> Tensor:
    """Log q(y) - log N(y) - log w(y) of the flow's latents y: its mean is the divergence of flow and target."""
    latents, log_prob = flow.drawn(noise, conditions)
    base: Tensor = flow.flow.base.log_prob(latents)  # type: ignore[operator]
    loss: Tensor = log_prob - base - weights(latents, conditions)
    return loss


_LOSSES: Final = {"weights": _weighted, "reverse": _reverse}


class _FreshLatents:
    """Losses of latents that are drawn anew at every step, under conditions of the reference."""

    def __init__(
        self, flow: RefinerFlow, weights: LatentWeights, conditions: Tensor, config: RefinerFlowConfig
    ) -> None:
        self._flow, self._weights, self._conditions = flow, weights, conditions
        self._loss, self._held_out = _LOSSES[config.objective], min(config.events, _HELD_OUT)

    def training_loss(self, index: Tensor) -> Tensor:
        """Loss of as many fresh latents as there are indices."""
        return self._loss(self._flow, self._weights, *self._drawn(len(index))).mean()

    def validation_loss(self) -> float:
        """Loss of latents that are the same at every call."""
        return float(self._loss(self._flow, self._weights, *self._drawn(self._held_out)).mean())

    def _drawn(self, n: int) -> tuple[Tensor, Tensor]:
        device = self._conditions.device
        noise = normal((n, self._flow.latent_dim), device=device)
        return noise, self._conditions[integers(len(self._conditions), n, device=device)]


def train_flow(
    weights: LatentWeights,
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
        weights: log weights of latents; with gradients for the objective `reverse`.
        conditions: conditions (M, C) under which events will be made, on the training device.
        config: network, objective and training.
        seed: of initial weights and latents.
        directory: for checkpoints.
        resume: continue from the checkpoint there.
        reporter: where progress goes.
    """
    device = conditions.device
    weights = weights.to(device).eval()
    with seeded(seed):
        flow = RefinerFlow(weights.latent_dim, conditions.shape[1], config, seed=seed).to(device)
    flow.scaler.fit(conditions)
    state = (tensor.cpu().numpy() for tensor in (conditions, *weights.state_dict().values()))
    result = fit(
        flow,
        _FreshLatents(flow, weights, conditions, config),
        config.events,
        config.training,
        seed=seed,
        title="second flow (LaSeR)",
        directory=directory,
        resume=resume,
        reporter=reporter,
        identity=identity(config.model_dump_json(), *state),
    )
    return flow.eval(), result
