"""Refined latents by sampling: rejection, and Hamiltonian Monte Carlo with a chain of its own for each event.

All random numbers of an event follow from (seed, index), as elsewhere, so that an event does not depend on the batch or
shard it is made in. Neither is one pass of a network; a graph cannot hold them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from hepflows.errors import RefinementError
from hepflows.philox import uniform_noise
from hepflows.refine.hmc import State, transition
from hepflows.refine.refiner import normals, refined_density

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hepflows.refine.config import HmcConfig, RejectionConfig
    from hepflows.refine.refiner import LatentWeights

_CANDIDATES, _CHOICE, _MOMENTA, _ACCEPTANCE = 0x61, 0x62, 0x63, 0x64
_REJECTION, _TOSS = 0x10000, 0x20000  # one stream a round
_TOGETHER: Final = 16
"""Candidates of an event that are evaluated together."""


_CHAINS_TOGETHER: Final = 2048  # events


class _Sampler:
    """Weights of latents, of which the learnt part is saved."""

    one_pass = False

    def __init__(self, weights: LatentWeights) -> None:
        self.weights, self.noise_dim = weights.eval().requires_grad_(requires_grad=False), weights.latent_dim

    def _weights_on(self, device: torch.device) -> LatentWeights:
        if next(self.weights.parameters()).device != device:
            self.weights.to(device)
        return self.weights

    @property
    def network(self) -> nn.Module:
        """See `hepflows.refine.refiner.Refiner.network`."""
        return self.weights.learned


class RejectionRefiner(_Sampler):
    """Latents z ~ N(0, 1) are kept with probability w(z) / W, W the weight at which the ratio clips.

    Args:
        weights: of latents.
        config: how often to try.
    """

    def __init__(self, weights: LatentWeights, config: RejectionConfig) -> None:
        super().__init__(weights)
        self.config = config

    @torch.no_grad()
    def draw(self, conditions: Tensor, *, seed: int, first_event: int) -> Tensor:
        """See `hepflows.refine.refiner.Refiner.draw`.

        Raises:
            RefinementError: an event has no accepted candidate after so many tries.
        """
        n, dim, weights = len(conditions), self.noise_dim, self._weights_on(conditions.device)
        latents = conditions.new_zeros(n, dim)
        open_ = torch.ones(n, dtype=torch.bool, device=conditions.device)
        repeated = conditions.repeat_interleave(_TOGETHER, dim=0)
        for number in range(-(-self.config.tries // _TOGETHER)):
            z = normals(seed, first_event, n, _TOGETHER * dim, like=conditions, stream=_REJECTION + number)
            toss = uniform_noise(seed, first_event, n, _TOGETHER, stream=_TOSS + number)
            # of all events, accepted or not: rows at the same place of products of the same shape are equal to the bit
            log_w = weights(z.reshape(-1, dim), repeated).reshape(n, _TOGETHER) - weights.ratio.log_limit
            accepted = torch.from_numpy(toss).to(log_w.device).log() < log_w
            first = accepted.to(torch.uint8).argmax(1)
            chosen = z.reshape(n, _TOGETHER, dim)[torch.arange(n, device=z.device), first]
            now = open_ & accepted.any(1)
            latents = torch.where(now[:, None], chosen, latents)
            open_ = open_ & ~now
            if not bool(open_.any()):
                return latents
        raise RefinementError(
            "no candidate was accepted for some events",
            where="rejection",
            found=f"{int(open_.sum())} of {n} events of a batch after {self.config.tries} tries each",
            remedy="refine again with more rejection.tries, or a lower max_weight of the classifier of the weights",
        )


class HmcRefiner(_Sampler):
    """A short chain an event, from a start that is near the target already.

    The start is one of `candidates` normal latents, chosen with probabilities proportional to their weights
    (sampling-importance-resampling; Rubin 1987), whose law tends to the target as candidates are added; transitions,
    which leave the target as it is, bring it nearer.

    Args:
        weights: of latents.
        config: candidates, transitions, leapfrog.
        step: of the leapfrog.
    """

    def __init__(self, weights: LatentWeights, config: HmcConfig, *, step: float) -> None:
        super().__init__(weights)
        self.config, self.step = config, step

    def draw(self, conditions: Tensor, *, seed: int, first_event: int) -> Tensor:
        """See `hepflows.refine.refiner.Refiner.draw`."""
        # gradients through a generator take much memory, and GPUs are given many events at once
        starts = range(0, len(conditions), _CHAINS_TOGETHER)
        parts = [
            self._draw(conditions[start : start + _CHAINS_TOGETHER], seed=seed, first_event=first_event + start)
            for start in starts
        ]
        return torch.cat([conditions.new_zeros(0, self.noise_dim), *parts])

    def _draw(self, conditions: Tensor, *, seed: int, first_event: int) -> Tensor:
        n, dim, config = len(conditions), self.noise_dim, self.config
        position = self._start(conditions, seed=seed, first_event=first_event)
        if config.transitions == 0:
            return position
        momenta = normals(seed, first_event, n, config.transitions * dim, like=conditions, stream=_MOMENTA)
        uniforms = uniform_noise(seed, first_event, n, config.transitions, stream=_ACCEPTANCE)
        tosses = torch.from_numpy(uniforms).to(conditions)
        density = refined_density(self._weights_on(conditions.device), conditions)
        state = State.at(density, position)
        for number in range(config.transitions):
            momentum = momenta[:, number * dim : (number + 1) * dim]
            state, _ = transition(density, state, momentum, tosses[:, number], step=self.step, leapfrog=config.leapfrog)
        return state.position

    @torch.no_grad()
    def _start(self, conditions: Tensor, *, seed: int, first_event: int) -> Tensor:
        n, dim, count = len(conditions), self.noise_dim, self.config.candidates
        weights = self._weights_on(conditions.device)
        best = conditions.new_full((n,), -torch.inf)
        start = conditions.new_zeros(n, dim)
        uniforms = uniform_noise(seed, first_event, n, count, stream=_CHOICE)
        # the largest of log w + Gumbel noise is a choice with probabilities proportional to w
        gumbel = -(-torch.from_numpy(uniforms).log()).log()
        for number in range(count):
            stream = (number << 8) + _CANDIDATES
            z = normals(seed, first_event, n, dim, like=conditions, stream=stream)
            score = weights(z, conditions) + gumbel[:, number].to(conditions)
            better = score > best
            best = torch.where(better, score, best)
            start = torch.where(better[:, None], z, start)
        return start
