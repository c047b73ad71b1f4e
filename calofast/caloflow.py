"""CaloFlow: p(voxels | conditions) = p1(layer energies | conditions) p2(voxels | layer energies, conditions).

Krause and Shih, arXiv:2106.05285 (teacher: MAF, trained by likelihood) and arXiv:2110.11377 (student: IAF, distilled).
Other architectures of the second stage are in `calofast.shower_flow`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

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
        context_features = self.n_conditions + self.n_layers
        self.conditions = ConditionTransform(self.n_conditions)
        self.layer_energies = LayerEnergyModel(
            self.n_layers, self.n_conditions, config.layer_energies, seed=config.seed
        )
        self.register_buffer("log_energy_mean", torch.zeros(self.n_layers))
        self.register_buffer("log_energy_std", torch.ones(self.n_layers))
        self.voxels = VoxelTransform(geometry.layer_sizes, context_features, config.preprocessing)
        self.shower_flow = shower_flow(geometry, context_features, config, kind)

    @property
    def noise_dim(self) -> int:
        """Normal numbers a shower takes: layers first, then voxels."""
        return self.n_layers + self.n_voxels

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
        energies = self.voxels.layer_energies(voxels_mev, dequantised)
        self.layer_energies.fit_preprocessing(energies, conditions[:, 0], self.conditions(conditions))
        logs = energies.log()
        self.log_energy_mean.copy_(logs.mean(0))
        self.log_energy_std.copy_(logs.std(0, unbiased=False).clamp_min(1e-3))
        self.voxels.fit(dequantised, energies, self.context(conditions, energies))

    def context(self, conditions: Tensor, energies_mev: Tensor) -> Tensor:
        """Network inputs of Flow II: conditions (N, C) and log layer energies (N, L), standardised."""
        logs = (energies_mev.clamp_min(1e-12).log() - self.log_energy_mean) / self.log_energy_std
        return torch.cat([self.conditions(conditions), logs], dim=1)

    def prepare_layers(self, voxels_mev: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, L) and context (N, C) of Flow I; dequantises anew at each call."""
        energies = self.voxels.layer_energies(voxels_mev, self.voxels.dequantise(voxels_mev))
        context = self.conditions(conditions)
        return self.layer_energies.to_model_space(energies, conditions[:, 0], context)[0], context

    def prepare_voxels(self, voxels_mev: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, V) and context (N, C + L) of Flow II; dequantises anew at each call."""
        dequantised = self.voxels.dequantise(voxels_mev)
        energies = self.voxels.layer_energies(voxels_mev, dequantised)
        context = self.context(conditions, energies)
        return self.voxels(dequantised, energies, context)[0], context

    def sample_layers(self, noise: Tensor, conditions: Tensor) -> Tensor:
        """Flow I: layer energies (N, L) in MeV from noise (N, L); values below the threshold mean "empty"."""
        return self.layer_energies.sample(noise, conditions[:, 0], self.conditions(conditions))

    def sample_voxels(
        self, noise: Tensor, conditions: Tensor, energies_mev: Tensor, *, rows: slice | None = None
    ) -> Tensor:
        """Flow II: voxels (N, V) in MeV whose layer sums are `energies_mev`, before the hit threshold.

        Args:
            noise: shape (N, V).
            conditions: shape (N, C).
            energies_mev: shape (N, L).
            rows: the showers that are wanted, others may be anything; see `ConditionalFlow.sample`.
        """
        context = self.context(conditions, energies_mev)
        y = self.shower_flow.sample(noise, context, rows=rows)
        dequantised = self.voxels.inverse(self.voxels.within_range(y), energies_mev, context)
        return self.voxels.to_showers(dequantised, energies_mev)

    def sample(self, noise: Tensor, conditions: Tensor, *, threshold: bool = True, rows: slice | None = None) -> Tensor:
        """Both stages: showers (N, V) in MeV from noise (N, L + V) and conditions (N, C); `rows` as there."""
        energies = self.sample_layers(noise[:, : self.n_layers], conditions)
        voxels = self.sample_voxels(noise[:, self.n_layers :], conditions, energies, rows=rows)
        return self.voxels.apply_threshold(voxels, energies) if threshold else voxels

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
    """What a host embeds: forward(cond (N, C), noise (N, L + V)) -> voxels (N, V) in MeV.

    Conditions outside the valid range are clamped, since a graph cannot refuse them.
    """

    def __init__(self, model: CaloFlowModel, *, threshold: bool = True) -> None:
        super().__init__()
        self.model, self.threshold = model, threshold

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Showers in MeV."""
        return self.model.sample(noise, self.model.conditions.clamp(cond), threshold=self.threshold)
