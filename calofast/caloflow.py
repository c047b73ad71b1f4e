"""CaloFlow: p(voxels | conditions) = p1(layer energies | conditions) p2(voxels | layer energies, conditions).

Krause and Shih, arXiv:2106.05285 (teacher: MAF, trained by likelihood) and arXiv:2110.11377 (student: IAF, distilled).
Other architectures of the second stage are in `calofast.shower_flow`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from calofast.hits import dequantised_hits, whole_hits
from calofast.layer_energies import LayerEnergyModel
from calofast.preprocessing import ConditionTransform
from calofast.shower_flow import shower_flow
from calofast.voxels import VoxelTransform
from hepflows.autoregressive import MaskedAutoregressive

if TYPE_CHECKING:
    from torch import Tensor

    from calofast.config import CaloFlowConfig
    from calofast.geometry import Geometry
    from calofast.shower_flow import Kind


_LEAST_SPREAD_OF_HITS = 0.3  # of log(1 + n): one hit instead of none is then two standard deviations away


class CaloFlowModel(nn.Module):
    """Both stages with their preprocessing.

    Args:
        geometry: cells of the calorimeter.
        config: complete configuration.
        kind: what Flow II is.
    """

    log_energy_mean: Tensor
    log_energy_std: Tensor

    def __init__(self, geometry: Geometry, config: CaloFlowConfig, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.n_layers, self.n_voxels = geometry.n_layers, geometry.n_voxels
        self.n_conditions = len(config.data.conditions)
        self.conditions = ConditionTransform(self.n_conditions)
        self.layer_energies = LayerEnergyModel(
            self.n_layers, self.n_conditions, config.layer_energies, seed=config.seed
        )
        context_features = self.n_conditions + self.n_totals
        self.register_buffer("log_energy_mean", torch.zeros(self.n_totals))
        self.register_buffer("log_energy_std", torch.ones(self.n_totals))
        self.voxels = VoxelTransform(geometry.layer_sizes, context_features, config.preprocessing)
        self.shower_flow = shower_flow(geometry, context_features, config, kind)

    @property
    def n_totals(self) -> int:
        """Numbers F of Flow I: an energy a layer, and with the hits another one."""
        return self.layer_energies.n_totals

    @property
    def noise_dim(self) -> int:
        """Normal numbers a shower takes: those of Flow I first, then voxels."""
        return self.n_totals + self.n_voxels

    @torch.no_grad()
    def fit_preprocessing(self, voxels_mev: Tensor, conditions: Tensor, valid: Tensor) -> None:
        """Learn all preprocessing from the training showers.

        Args:
            voxels_mev: shape (N, V).
            conditions: shape (N, C), physical.
            valid: shape (2, C), lower and upper end of the valid range of each condition.
        """
        self.conditions.fit(conditions)
        self.conditions.low.copy_(valid[0])
        self.conditions.high.copy_(valid[1])
        dequantised = self.voxels.dequantise(voxels_mev)
        totals = self.totals(voxels_mev, dequantised)
        self.layer_energies.fit_preprocessing(totals, conditions[:, 0], self.conditions(conditions))
        logs = self._logs(totals)
        self.log_energy_mean.copy_(logs.mean(0))
        self.log_energy_std.copy_(logs.std(0, unbiased=False).clamp_min(1e-3))
        # a layer may always have the same number of hits, and Flow I still draw another one
        self.log_energy_std[self.n_layers :].clamp_(min=_LEAST_SPREAD_OF_HITS)
        self.voxels.fit(dequantised, totals[:, : self.n_layers], self.context(conditions, totals))

    def totals(self, voxels_mev: Tensor, dequantised_mev: Tensor, noise: Tensor | None = None) -> Tensor:
        """What Flow I learns of showers, shape (N, F): layer energies in MeV, then, if it does, dequantised hits.

        Args:
            voxels_mev: shape (N, V).
            dequantised_mev: the same without zeros, see `VoxelTransform.dequantise`.
            noise: of the hits, see `calofast.hits.dequantised_hits`.
        """
        energies = self.voxels.layer_energies(voxels_mev, dequantised_mev)
        if self.n_totals == self.n_layers:
            return energies
        hits = dequantised_hits(voxels_mev, self.voxels.config.threshold_mev, self.voxels.members, noise)
        return torch.cat([energies, hits], dim=1)

    def context(self, conditions: Tensor, totals: Tensor) -> Tensor:
        """Network inputs of Flow II: conditions (N, C) and logarithms of the totals (N, F), standardised."""
        logs = (self._logs(totals) - self.log_energy_mean) / self.log_energy_std
        return torch.cat([self.conditions(conditions), logs], dim=1)

    def _logs(self, totals: Tensor) -> Tensor:
        """Logarithms of layer energies and of one plus the whole numbers of hits, shape (N, F)."""
        logs = totals[:, : self.n_layers].clamp_min(1e-12).log()
        if self.n_totals == self.n_layers:
            return logs
        return torch.cat([logs, whole_hits(totals[:, self.n_layers :], self.voxels.members).log1p()], dim=1)

    def prepare_layers(self, voxels_mev: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, F) and context (N, C) of Flow I; dequantises anew at each call."""
        totals = self.totals(voxels_mev, self.voxels.dequantise(voxels_mev))
        context = self.conditions(conditions)
        return self.layer_energies.to_model_space(totals, conditions[:, 0], context)[0], context

    def prepare_voxels(self, voxels_mev: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, V) and context (N, C + F) of Flow II; dequantises anew at each call."""
        dequantised = self.voxels.dequantise(voxels_mev)
        totals = self.totals(voxels_mev, dequantised)
        context = self.context(conditions, totals)
        return self.voxels(dequantised, totals[:, : self.n_layers], context)[0], context

    def sample_layers(self, noise: Tensor, conditions: Tensor) -> Tensor:
        """Flow I: totals (N, F) from noise (N, F); energies below the threshold mean "empty"."""
        return self.layer_energies.sample(noise, conditions[:, 0], self.conditions(conditions))

    def sample_voxels(self, noise: Tensor, conditions: Tensor, totals: Tensor, *, rows: slice | None = None) -> Tensor:
        """Flow II: voxels (N, V) in MeV whose layer sums are the energies of `totals`, before the hit threshold.

        Args:
            noise: shape (N, V).
            conditions: shape (N, C).
            totals: shape (N, F).
            rows: the showers that are wanted, others may be anything; see `ConditionalFlow.sample`.
        """
        context, energies = self.context(conditions, totals), totals[:, : self.n_layers]
        y = self.shower_flow.sample(noise, context, rows=rows)
        dequantised = self.voxels.inverse(self.voxels.within_range(y), energies, context)
        return self.voxels.to_showers(dequantised, energies)

    def sample(self, noise: Tensor, conditions: Tensor, *, threshold: bool = True, rows: slice | None = None) -> Tensor:
        """Both stages: showers (N, V) in MeV from noise (N, F + V) and conditions (N, C); `rows` as there."""
        totals = self.sample_layers(noise[:, : self.n_totals], conditions)
        voxels = self.sample_voxels(noise[:, self.n_totals :], conditions, totals, rows=rows)
        return self.voxels.apply_threshold(voxels, totals[:, : self.n_layers]) if threshold else voxels

    def copy_first_stage(self, teacher: CaloFlowModel) -> None:
        """Take preprocessing, Flow I, permutations and the head of Flow II from a teacher of the same configuration."""
        own = self.state_dict()
        blocks = {
            f"shower_flow.transforms.{number}."
            for number, block in enumerate(teacher.shower_flow.transforms)
            if isinstance(block, MaskedAutoregressive)
        }
        shared = {name: value for name, value in teacher.state_dict().items() if not name.startswith(tuple(blocks))}
        self.load_state_dict({**own, **shared})


class SamplingModule(nn.Module):
    """What a host embeds: forward(cond (N, C), noise (N, F + V)) -> voxels (N, V) in MeV.

    Conditions outside the valid range are clamped, since a graph cannot refuse them.
    """

    def __init__(self, model: CaloFlowModel, *, threshold: bool = True) -> None:
        super().__init__()
        self.model, self.threshold = model, threshold

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Showers in MeV."""
        return self.model.sample(noise, self.model.conditions.clamp(cond), threshold=self.threshold)
