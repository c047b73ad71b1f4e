"""Flow I: energy deposited in each layer, given the conditions.

CaloFlow, arXiv:2106.05285, section 3.1: u_0 = sum(E_i) / (E_inc * scale), u_i = E_{i-1} / sum_{j >= i-1} E_j, each
through a logit. The scale is the training data's largest sum(E) / E_inc.
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
    """Density and sampler of L layer energies in MeV.

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
        self.register_buffer("scale", torch.ones(()))
        self.standardisation = ContextStandardisation(n_layers, n_conditions)
        generator = torch.Generator().manual_seed(seed)
        blocks: list[nn.Module] = []
        for block in range(config.blocks):
            blocks.append(
                MaskedAutoregressive(
                    n_layers, n_conditions, config.hidden, config.spline.settings(), dropout=config.dropout
                )
            )
            if block < config.blocks - 1 and n_layers > 1:
                blocks.append(Permutation(shuffle(n_layers, generator)))
        self.flow = ConditionalFlow(blocks)

    @torch.no_grad()
    def fit_preprocessing(self, energies_mev: Tensor, incident_gev: Tensor, context: Tensor) -> None:
        """Learn scale and standardisation from layer energies (N, L), incident energies (N,), context (N, C)."""
        self.scale.copy_((energies_mev.sum(1) / (incident_gev * MEV_PER_GEV)).max() * _MARGIN)
        u, _ = self._logits(energies_mev, incident_gev)
        everywhere = torch.ones(u.shape[1], dtype=torch.bool, device=u.device)
        self.standardisation.fit(u, context, regress=everywhere)

    def to_model_space(self, energies_mev: Tensor, incident_gev: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Layer energies (N, L) > 0 to y (N, L) and log |dy/dE| (N,), energies in MeV."""
        u, log_det = self._logits(energies_mev, incident_gev)
        y, log_scale = self.standardisation(u, context)
        return y, log_det + log_scale

    def from_model_space(self, y: Tensor, incident_gev: Tensor, context: Tensor) -> Tensor:
        """Undo `to_model_space`: energies in MeV, shape (N, L), not negative."""
        u = self.standardisation.inverse(y, context)
        part, rest = share_of_logit(u, self.alpha)
        remaining = part[:, :1] * (incident_gev * MEV_PER_GEV * self.scale)[:, None]
        energies = []
        for layer in range(1, y.shape[1]):
            energies.append(remaining * part[:, layer : layer + 1])
            remaining = remaining * rest[:, layer : layer + 1]
        return torch.cat([*energies, remaining], dim=1)

    def log_prob(self, energies_mev: Tensor, incident_gev: Tensor, context: Tensor) -> Tensor:
        """Log density of layer energies in MeV^-L, shape (N,)."""
        y, log_det = self.to_model_space(energies_mev, incident_gev, context)
        return self.flow.log_prob(y, context) + log_det

    def sample(self, noise: Tensor, incident_gev: Tensor, context: Tensor) -> Tensor:
        """Layer energies (N, L) in MeV from standard normal noise (N, L)."""
        return self.from_model_space(self.flow.sample(noise, context), incident_gev, context)

    def _logits(self, energies_mev: Tensor, incident_gev: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of u_0 ... u_{L-1} and log |du/dE| of the whole chain."""
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
        return logits, log_det
