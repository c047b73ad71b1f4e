"""A second generator on the weighted latent space as a GAN with auxiliary latents (LaSeR, arXiv 2106.00792).

More noise than latents lets it change the topology of the latent space, which a flow cannot. The discriminator sees
latents with their pulled-back weights against the network's, and has an R1 penalty (arXiv 1801.04406).
"""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.errors import ConfigError, TrainingError
from hepflows.refine.latent import ContextScaler
from hepflows.train.progress import Reporter, SilentReporter
from hepflows.train.seeding import seeded

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.refine.config import RefinerGanConfig
    from hepflows.refine.refiner import LatentWeights

_SLOPE = 0.2


class RefinerGan(nn.Module):
    """Noise (N, K) to latents (N, Z) under conditions (N, C).

    With `residual` the noise is that of the first generator, then the auxiliary numbers, and a new network changes
    nothing; otherwise it is the auxiliary numbers alone.
    """

    def __init__(self, latent_dim: int, n_conditions: int, config: RefinerGanConfig) -> None:
        super().__init__()
        if not config.residual and config.auxiliary < 1:
            raise ConfigError("a GAN that is not residual needs noise", where="gan.auxiliary", found=config.auxiliary)
        self.latent_dim, self.residual = latent_dim, config.residual
        self.noise_dim = config.auxiliary + (latent_dim if config.residual else 0)
        self.scaler = ContextScaler(n_conditions)
        self.layers = _layers(self.noise_dim + n_conditions, config.hidden, latent_dim)
        if config.residual:
            last = self.layers[-1]
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, conditions: Tensor, noise: Tensor) -> Tensor:
        """Latents from noise."""
        moved = _apply(self.layers, torch.cat([noise, self.scaler(conditions)], dim=1))
        latents: Tensor = noise[:, : self.latent_dim] + moved if self.residual else moved
        return latents


def train_gan(
    weights: LatentWeights,
    conditions: Tensor,
    config: RefinerGanConfig,
    *,
    seed: int,
    reporter: Reporter | None = None,
) -> RefinerGan:
    """Train the second generator; the averaged weights are kept.

    Args:
        weights: of latents.
        conditions: conditions (M, C) under which events will be made, on the training device.
        config: networks and training.
        seed: of initial weights and latents.
        reporter: where progress goes.

    Raises:
        TrainingError: a loss is not a number.
    """
    device = conditions.device
    weights = weights.to(device).eval()
    with seeded(seed):
        made = RefinerGan(weights.latent_dim, conditions.shape[1], config).to(device)
        made.scaler.fit(conditions)
        averaged = copy.deepcopy(made)
        critic = _layers(weights.latent_dim + conditions.shape[1], config.hidden, 1).to(device)
        betas = (0.5, 0.9)
        of_made = torch.optim.Adam(made.layers.parameters(), lr=config.learning_rate, betas=betas)
        of_critic = torch.optim.Adam(critic.parameters(), lr=config.learning_rate, betas=betas)
        with (reporter or SilentReporter()).stage("second generator (LaSeR, GAN)", total=config.steps) as stage:
            for step in range(config.steps):
                for _ in range(config.critic_steps):
                    loss = _critic_loss(critic, made, weights, conditions, config)
                    _descend(of_critic, loss, step)
                drawn, given = _drawn(made, conditions, config.batch_size)
                against = F.softplus(-_apply(critic, torch.cat([drawn, given], dim=1))).mean()
                _descend(of_made, against, step)
                with torch.no_grad():
                    for average, new in zip(averaged.layers.parameters(), made.layers.parameters(), strict=True):
                        average.lerp_(new, 1 - min(config.average, (1 + step) / (10 + step)))
                stage.advance(critic=float(loss.detach()), generator=float(against.detach()))
    return averaged.eval()


def _critic_loss(
    critic: nn.ModuleList, made: RefinerGan, weights: LatentWeights, conditions: Tensor, config: RefinerGanConfig
) -> Tensor:
    n = config.batch_size
    rows = torch.randint(len(conditions), (n,), device=conditions.device)
    z = torch.randn(n, weights.latent_dim, device=conditions.device)
    with torch.no_grad():
        factors = weights(z, conditions[rows]).exp()
        drawn, given = _drawn(made, conditions, n)
    real = torch.cat([z, made.scaler(conditions[rows])], dim=1).requires_grad_()
    of_real = _apply(critic, real).squeeze(1)
    of_drawn = _apply(critic, torch.cat([drawn, given], dim=1))
    loss = (factors * F.softplus(-of_real)).mean() + F.softplus(of_drawn).mean()
    (slope,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
    penalty = (factors * (slope * slope).sum(1)).mean()
    total: Tensor = loss + 0.5 * config.gradient_penalty * penalty
    return total


def _drawn(made: RefinerGan, conditions: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Latents of the second generator, and the network's inputs of their conditions."""
    given = conditions[torch.randint(len(conditions), (n,), device=conditions.device)]
    noise = torch.randn(n, made.noise_dim, device=conditions.device)
    return made(given, noise), made.scaler(given)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
    if not bool(torch.isfinite(loss)):
        raise TrainingError(
            "the loss of the second generator is not a number",
            where=f"step {step}",
            remedy="lower gan.learning_rate, or refine by laser-flow",
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _layers(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise((inputs, *hidden, outputs)))


def _apply(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """A perceptron whose activation, LeakyReLU, is written in operators that every host has."""
    for layer in layers[:-1]:
        x = layer(x)
        x = torch.maximum(x, _SLOPE * x)
    last: Tensor = layers[-1](x)
    return last
