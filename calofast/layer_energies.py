"""Flow I: energy deposited in each layer, and perhaps the number of hits there, given the conditions.

CaloFlow, arXiv:2106.05285, section 3.1: u_0 = sum(E_i) / (E_inc * scale), u_i = E_{i-1} / sum_{j >= i-1} E_j, each
through a logit. The scale is the training data's largest sum(E) / E_inc. Numbers of hits, dequantised, go through
log(1 + n). "Totals" are both: L energies in MeV, then, with `LayerEnergyConfig.hits`, L numbers of hits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from calofast.preprocessing import ContextStandardisation, logit_of_share, share_of_logit
from hepflows.autoregressive import MaskedAutoregressive
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation, shuffle

if TYPE_CHECKING:
    from torch import Tensor

    from calofast.config import LayerEnergyConfig

_MARGIN = 1.001  # keeps the training shower with the largest response off the edge of the logit
MEV_PER_GEV = 1000.0


class LayerEnergyModel(nn.Module):
    """Density and sampler of the totals of L layers: F = L energies in MeV, or F = 2 L with the hits.

    Args:
        n_layers: number of layers L.
        n_conditions: number of conditions C.
        config: network of Flow I.
        seed: of the permutations between the blocks.
    """

    scale: Tensor

    def __init__(self, n_layers: int, n_conditions: int, config: LayerEnergyConfig, *, seed: int) -> None:
        super().__init__()
        self.alpha = config.alpha
        self.n_layers = n_layers
        self.n_totals = 2 * n_layers if config.hits else n_layers
        self.register_buffer("scale", torch.ones(()))
        self.standardisation = ContextStandardisation(self.n_totals, n_conditions)
        generator = torch.Generator().manual_seed(seed)
        blocks: list[nn.Module] = []
        for block in range(config.blocks):
            blocks.append(
                MaskedAutoregressive(
                    self.n_totals, n_conditions, config.hidden, config.spline.settings(), dropout=config.dropout
                )
            )
            if block < config.blocks - 1 and self.n_totals > 1:
                blocks.append(Permutation(shuffle(self.n_totals, generator)))
        self.flow = ConditionalFlow(blocks)

    @torch.no_grad()
    def fit_preprocessing(self, totals: Tensor, incident_gev: Tensor, context: Tensor) -> None:
        """Learn scale and standardisation from totals (N, F), incident energies (N,), context (N, C)."""
        deposited = totals[:, : self.n_layers].sum(1)
        self.scale.copy_((deposited / (incident_gev * MEV_PER_GEV)).max() * _MARGIN)
        u, _ = self._unscaled(totals, incident_gev)
        everywhere = torch.ones(u.shape[1], dtype=torch.bool, device=u.device)
        self.standardisation.fit(u, context, regress=everywhere)

    def to_model_space(self, totals: Tensor, incident_gev: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Totals (N, F), energies > 0, to y (N, F) and the log-determinant (N,)."""
        u, log_det = self._unscaled(totals, incident_gev)
        y, log_scale = self.standardisation(u, context)
        return y, log_det + log_scale

    def from_model_space(self, y: Tensor, incident_gev: Tensor, context: Tensor) -> Tensor:
        """Undo `to_model_space`: totals (N, F), the energies in MeV and not negative."""
        u = self.standardisation.inverse(y, context)
        part, rest = share_of_logit(u[:, : self.n_layers], self.alpha)
        remaining = part[:, :1] * (incident_gev * MEV_PER_GEV * self.scale)[:, None]
        energies = []
        for layer in range(1, self.n_layers):
            energies.append(remaining * part[:, layer : layer + 1])
            remaining = remaining * rest[:, layer : layer + 1]
        hits = [u[:, self.n_layers :].exp() - 1] if self.n_totals > self.n_layers else []
        return torch.cat([*energies, remaining, *hits], dim=1)

    def log_prob(self, totals: Tensor, incident_gev: Tensor, context: Tensor) -> Tensor:
        """Log density of totals in MeV^-L, shape (N,)."""
        y, log_det = self.to_model_space(totals, incident_gev, context)
        return self.flow.log_prob(y, context) + log_det

    def sample(self, noise: Tensor, incident_gev: Tensor, context: Tensor) -> Tensor:
        """Totals (N, F) from standard normal noise (N, F)."""
        return self.from_model_space(self.flow.sample(noise, context), incident_gev, context)

    def _unscaled(self, totals: Tensor, incident_gev: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of u_0 ... u_{L-1}, log(1 + n) of the hits, and the log-determinant of the whole chain."""
        energies_mev = totals[:, : self.n_layers]
        limit = (incident_gev * MEV_PER_GEV * self.scale)[:, None]
        # sums of this layer and all behind it
        tails = energies_mev.flip(1).cumsum(1).flip(1)
        total = tails[:, :1]
        columns = [logit_of_share(total, (limit - total).clamp_min(0.0), self.alpha)]
        columns += [
            logit_of_share(energies_mev[:, layer : layer + 1], tails[:, layer + 1 : layer + 2], self.alpha)
            for layer in range(energies_mev.shape[1] - 1)
        ]
        logits = torch.cat([column[0] for column in columns], dim=1)
        log_det = torch.cat([column[1] for column in columns], dim=1).sum(1)
        # du/dE: E -> (total, u_1, ...) has determinant prod 1 / tail_i over the layers but the last
        log_det = log_det - limit[:, 0].log() - tails[:, :-1].log().sum(1)
        if self.n_totals == self.n_layers:
            return logits, log_det
        hits = totals[:, self.n_layers :].log1p()
        return torch.cat([logits, hits], dim=1), log_det - hits.sum(1)
