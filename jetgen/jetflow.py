"""JetFlow: constituents of jets from noise, given nothing, the mass, or mass and multiplicity.

Käch et al., arXiv:2211.13630 (normalizing flows on point clouds with conditions), with preprocessing given the
conditions, a mass constraint that is exact by construction and, as an alternative, an equivariant continuous flow.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from hepflows.affine import AffineCoupling
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.draws import integers, normal_like
from hepflows.errors import ConfigError
from hepflows.flow import ConditionalFlow
from hepflows.flow_matching import ContinuousFlow
from hepflows.pairing import paired_noise
from jetgen.equivariant import EquivariantVelocity, slots_filled
from jetgen.mass_constraint import constrain_mass, log_miss, shape_of
from jetgen.mass_correction import correct_mass
from jetgen.multiplicity import ConditionTables
from jetgen.portable import sorted_by_pt
from jetgen.preprocessing import ConditionInputs, Constituents, ConstituentTransform
from jetgen.pt_sum import PtSum

if TYPE_CHECKING:
    from torch import Tensor

    from jetgen.config import CouplingConfig, JetFlowConfig


class JetFlowModel(nn.Module):
    """Condition tables, preprocessing and network.

    Args:
        n_slots: number of slots P.
        config: complete configuration.
    """

    def __init__(self, n_slots: int, config: JetFlowConfig) -> None:
        super().__init__()
        self.n_slots, self.condition_names, self.constraint = n_slots, config.conditions, config.constraint
        # flow matching needs no density with a bound, and follows mass and sum better when it sees them as they are
        jitter = config.scale_jitter if config.architecture == "coupling" else 0.0
        self.scale_jitter = jitter if self.constraint == "exact" else 0.0
        self.pt_sum_jitter = jitter if config.pt_sum_constraint == "exact" else 0.0
        self.mirrors, self.pairing = config.data.mirrors, config.equivariant.pairing
        c = len(self.condition_names)
        self.pt_sum = PtSum(c, n_slots) if config.pt_sum_constraint == "exact" else None
        c += self.pt_sum is not None
        equivariant = config.architecture == "equivariant"
        self.tables = ConditionTables(n_slots)
        self.conditions = ConditionInputs(self.condition_names, n_slots)
        self.constituents = ConstituentTransform(
            n_slots,
            c,
            shared=equivariant,
            multiplicity_known="multiplicity" in self.condition_names,
            least=2 if self.constraint == "exact" else 1,
        )
        self.network: ConditionalFlow | ContinuousFlow
        if equivariant:
            e = config.equivariant
            field = EquivariantVelocity(
                n_slots, c, width=e.width, blocks=e.blocks, heads=e.heads, expansion=e.expansion
            )
            self.network = ContinuousFlow(field, steps=e.steps, average=e.average)
        else:
            self.network = _coupling_flow(3 * n_slots, c, config.coupling, seed=config.seed)

    @property
    def noise_dim(self) -> int:
        """Normal numbers that a jet takes: three a slot, and one before if its sum of pT is drawn."""
        return 3 * self.n_slots + (self.pt_sum is not None)

    @property
    def n_conditions(self) -> int:
        """Number C of conditions."""
        return len(self.condition_names)

    def keep_trained(self) -> None:
        """Drop what only training needs, and sample with the averaged weights if there are any."""
        if isinstance(self.network, ContinuousFlow):
            self.network.keep_average()

    @torch.no_grad()
    def fit_preprocessing(self, jets: Constituents, mass: Tensor, valid: Tensor) -> None:
        """Learn tables and preprocessing from the training jets.

        Args:
            jets: training jets, ordered by pT.
            mass: their masses, shape (N,).
            valid: shape (2, C), lower and upper end of the valid range of each condition.
        """
        multiplicity = jets.mask.sum(1)
        self.tables.fit(mass.cpu().numpy(), multiplicity.cpu().numpy())
        conditions = torch.stack([mass, multiplicity.to(mass.dtype)], dim=1)[:, : self.n_conditions]
        conditions = conditions.to(jets.eta.dtype)
        self.conditions.fit(conditions, valid)
        total = _total(jets.pt)
        if self.pt_sum is not None:
            self.pt_sum.fit(total.squeeze(1), self.conditions(conditions))
        self.constituents.fit(jets, self._context(conditions, total))

    def prepare(self, jets: Constituents, conditions: Tensor, *, augment: bool) -> tuple[Tensor, Tensor]:
        """Features (N, 3 P) and context for the network: the sum of pT if it is drawn first, and the conditions.

        With `augment` the jets are mirrored at random. The scale of the angles is jittered in either case where the
        mass is constrained exactly, that of pT where their sum is: then the network learns jets up to their scale.
        """
        eta, phi, pt = jets.eta, jets.phi, jets.pt
        if augment:
            if "eta" in self.mirrors:
                eta = eta * _random_signs(eta)
            if "phi" in self.mirrors:
                phi = phi * _random_signs(phi)
        if self.scale_jitter:
            scale = (self.scale_jitter * normal_like(eta[:, :1])).exp()
            eta, phi = eta * scale, phi * scale
        if self.pt_sum_jitter:
            pt = pt * (self.pt_sum_jitter * normal_like(pt[:, :1])).exp()
        context = self._context(conditions, _total(jets.pt))
        y, _ = self.constituents(Constituents(eta, phi, pt, jets.mask), context)
        return y.flatten(1), context

    def sum_loss(self, jets: Constituents, conditions: Tensor) -> Tensor:
        """Negative log-likelihood of the sums of pT, scalar; 0 if they are not drawn."""
        if self.pt_sum is None:
            return jets.pt.new_zeros(())
        return -self.pt_sum.log_prob(_total(jets.pt), self.conditions(conditions)).mean()

    def loss(self, features: Tensor, context: Tensor, *, mean_filled: Tensor | None = None) -> Tensor:
        """What training minimises but for the sum of pT and the mass loss: scalar.

        Args:
            features: shape (N, 3 P).
            context: shape (N, C).
            mean_filled: by how many slots a jet a continuous flow's sum over constituents is divided; None: by the mean
                of these jets. Parts of a batch need that of the whole.
        """
        if isinstance(self.network, ContinuousFlow):
            filled = slots_filled(context, self.n_slots, features.dtype)
            noise = normal_like(features)
            if self.pairing:
                noise, points = (values.reshape(-1, self.n_slots, 3) for values in (noise, features))
                noise = paired_noise(noise, points, filled.sum(1).long()).flatten(1)
            total = None if mean_filled is None else (3 * len(features) * mean_filled).to(features.dtype)
            return self.network.loss(
                features, context, filled.repeat_interleave(3, dim=1), noise=noise, total_weight=total
            )
        likelihood: Tensor = self.network.log_prob(features, context)
        return -likelihood.mean()

    def log_prob(self, jets: Constituents, conditions: Tensor, *, pt_sum: Tensor | None = None) -> Tensor:
        """Log density of the constituents (eta, phi, pT of the filled slots), ordered by pT, shape (N,).

        Empty slots count as noise of their own density, drawn anew at each call. With an exact mass or sum of pT this
        is the density of the jets whose scales are jittered, given the sum (N, 1) that they had before, by default the
        one they have; see `jetgen.shape_density` for that of the jets themselves.

        Raises:
            ConfigError: the network is a continuous flow.
        """
        if isinstance(self.network, ContinuousFlow):
            raise ConfigError("a continuous flow has no density here", remedy="use a coupling flow, preset exact say")
        context = self._context(conditions, _total(jets.pt) if pt_sum is None else pt_sum)
        y, log_det = self.constituents(jets, context)
        density: Tensor = self.network.log_prob(y.flatten(1), context)
        result: Tensor = density + log_det - self._noise_log_prob(y, jets.mask)
        return result

    def sample(self, noise: Tensor, conditions: Tensor, *, rows: slice | None = None) -> Constituents:
        """Jets from noise (N, Z) and physical conditions (N, C), in falling order of pT.

        `rows` are the jets that are wanted, others may be anything; see `ConditionalFlow.sample`.
        """
        jets = self.unconstrained(noise, conditions, rows=rows)
        if self.constraint != "exact":
            return jets
        mass, eta, phi = conditions[:, 0], jets.eta, jets.phi
        if not self.scale_jitter:  # otherwise the density of `jetgen.shape_density` is that of a common scale alone
            eta, phi = correct_mass(eta, phi, jets.pt, jets.mask, mass)
        eta, phi, _ = constrain_mass(eta, phi, jets.pt, jets.mask, mass)
        return Constituents(eta, phi, jets.pt, jets.mask)

    def mass_misses(self, noise: Tensor, conditions: Tensor) -> Tensor:
        """Log of the condition's mass over that of the network's jet, shape (N,): what the exact mass has to mend."""
        jets = self.unconstrained(noise, conditions)
        return log_miss(shape_of(jets.eta, jets.phi, jets.pt, jets.mask), conditions[:, 0]).squeeze(1)

    def unconstrained(self, noise: Tensor, conditions: Tensor, *, rows: slice | None = None) -> Constituents:
        """What `sample` gives before the mass is made exact."""
        inputs, total = self.conditions(conditions), None
        if self.pt_sum is not None:
            total = self.pt_sum.sample(noise[:, :1], inputs)
            noise = noise[:, 1:]
        context = self._context(conditions, total)
        if isinstance(self.network, ContinuousFlow):
            y = self.network.sample(noise, context)
        else:
            y = self.network.sample(noise, context, rows=rows)
        y = y.reshape(-1, self.n_slots, 3)
        multiplicity = conditions[:, 1:2] if "multiplicity" in self.condition_names else None
        jets = self.constituents.inverse(y, context, multiplicity)
        pt = jets.pt if total is None else jets.pt * (total / _total(jets.pt))
        return Constituents(*sorted_by_pt(jets.eta, jets.phi, pt, jets.mask))

    def _context(self, conditions: Tensor, total: Tensor | None) -> Tensor:
        """Context of the network from physical conditions (N, C) and sums of pT (N, 1); the multiplicity is last."""
        inputs: Tensor = self.conditions(conditions)
        if self.pt_sum is None or total is None:
            return inputs
        return torch.cat([self.pt_sum.as_context(total), inputs], dim=1)

    def _noise_log_prob(self, y: Tensor, mask: Tensor) -> Tensor:
        from jetgen.preprocessing import EMPTY_MEAN, EMPTY_WIDTH

        mean, width = y.new_zeros(3), y.new_ones(3)
        if not self.constituents.multiplicity_known:
            mean[2], width[2] = EMPTY_MEAN, EMPTY_WIDTH
        each = -0.5 * ((y - mean) / width) ** 2 - width.log() - 0.5 * math.log(2 * math.pi)
        return torch.where(mask, torch.zeros_like(each[:, :, 0]), each.sum(2)).sum(1)


class SamplingModule(nn.Module):
    """What a host embeds: forward(cond (N, C), noise (N, Z)) -> (N, 4 P): eta, phi, pT, mask of slot 0, of slot 1 ...

    Conditions outside the valid range are clamped, since a graph cannot refuse them, and the multiplicity is
    rounded. A mass out of reach gives the jet described in `constrain_mass`.
    """

    def __init__(self, model: JetFlowModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Slot by slot eta_rel, phi_rel, pt_rel and mask (0 or 1), in falling order of pT."""
        return stacked(self.model.sample(noise, self.model.conditions.clamp(cond)))


def stacked(jets: Constituents) -> Tensor:
    """Jets as one tensor (N, 4 P): eta, phi, pT and mask of slot 0, then of slot 1, and so on."""
    return torch.stack([jets.eta, jets.phi, jets.pt, jets.mask.to(jets.pt.dtype)], dim=2).flatten(1)


def _coupling_flow(features: int, context_features: int, config: CouplingConfig, *, seed: int) -> ConditionalFlow:
    """Couplings with the features shuffled anew between them."""
    generator = torch.Generator().manual_seed(seed + 1)
    make = partial(AffineCoupling if config.transform == "affine" else SplineCoupling, features, context_features)
    if config.transform == "spline":
        make = partial(make, config.spline())
    settings = {"width": config.width, "blocks": config.depth}
    make = partial(make, **settings, dropout=config.dropout, batch_norm=config.batch_norm)
    return ConditionalFlow(coupling_blocks(features, make, blocks=config.blocks, generator=generator))


def _total(pt: Tensor) -> Tensor:
    """Sum of pT, shape (N, 1)."""
    return pt.sum(1, keepdim=True)


def _random_signs(like: Tensor) -> Tensor:
    """One sign a jet, shape (N, 1)."""
    return integers(2, len(like), device=like.device).to(like.dtype).unsqueeze(1) * 2 - 1
