"""Voxel energies to network inputs and back, with the layer energies as part of the context.

Two ways, chosen in the configuration:

* `log`: u = log(v / threshold) for lit voxels. Dark voxels are drawn from a Gaussian well below zero, so that the
  zeros are part of the density. Always-lit voxels are standardised given the context.
* `logit`: as published (CaloFlow, arXiv:2106.05285): uniform noise, division by the layer's energy, logit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from calofast.config import CUT
from calofast.preprocessing import ContextStandardisation, layer_matrix, logit_of_share, share_of_logit
from calofast.spectrum import SpectrumMap
from hepflows.draws import normal_like, uniform_like

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from calofast.config import PreprocessingConfig

_ALWAYS_LIT = 0.999
_MOST_CHANGE = 0.5  # of the brightest voxel of a layer, before all are scaled
_MARGIN = 0.25  # in standard deviations
_LEAST_SCALE = 0.3  # in log or logit space; keeps voxels that are nearly constant from dominating


class VoxelTransform(nn.Module):
    """Invertible map of voxel energies given layer energies and context.

    Args:
        layer_sizes: voxels of each layer.
        context_features: number of context inputs.
        config: preprocessing settings.
    """

    members: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, layer_sizes: Sequence[int], context_features: int, config: PreprocessingConfig) -> None:
        super().__init__()
        self.config = config
        self.layer_sizes = tuple(layer_sizes)
        self.register_buffer("members", layer_matrix(layer_sizes), persistent=False)
        self.standardisation = ContextStandardisation(sum(layer_sizes), context_features)
        self.register_buffer("lowest", torch.full((sum(layer_sizes),), -torch.inf))
        self.register_buffer("highest", torch.full((sum(layer_sizes),), torch.inf))
        self.spectrum = SpectrumMap(layer_sizes)

    def dequantise(self, voxels_mev: Tensor, noise: Tensor | None = None) -> Tensor:
        """Give every voxel, dark or lit, a continuous positive energy.

        `log`: dark voxels get threshold * exp(n), n Gaussian and below zero. `logit`: each gets uniform noise.

        Args:
            voxels_mev: shape (N, V).
            noise: shape (N, V), standard normal (`log`) or uniform in (0, 1) (`logit`); None draws it from torch's
                generator.
        """
        config = self.config
        if config.voxels == "logit":
            return voxels_mev + config.noise_mev * (uniform_like(voxels_mev) if noise is None else noise)
        dark = config.dark_mean + config.dark_width * (normal_like(voxels_mev) if noise is None else noise)
        lit = voxels_mev >= config.threshold_mev
        return torch.where(lit, voxels_mev, config.threshold_mev * dark.clamp_max(-1e-3).exp())

    def before_spectrum(self, dequantised_mev: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the map of the lit voxels' spectrum: (N, V) to (N, V) and the log-determinant (N,)."""
        if self.config.voxels == "logit":
            return dequantised_mev, torch.zeros_like(dequantised_mev[:, 0])
        threshold = self.config.threshold_mev
        u = (dequantised_mev / threshold).log()
        raw, log_slope = self.spectrum.inverse(u.clamp_min(0.0))
        lit = u >= 0
        change = torch.where(lit, raw - u + log_slope, torch.zeros_like(u))
        return torch.where(lit, threshold * raw.exp(), dequantised_mev), change.sum(1)

    def layer_energies(self, voxels_mev: Tensor, dequantised_mev: Tensor) -> Tensor:
        """Layer energies (N, L) in MeV that Flow I learns, all positive.

        `logit`: sums with the noise included. `log`: sums of the lit voxels; an empty layer gets the value of one
        dark voxel, so that "empty" is a region of the density.
        """
        if self.config.voxels == "logit":
            return dequantised_mev @ self.members
        lit = voxels_mev >= self.config.threshold_mev
        sums = torch.where(lit, voxels_mev, torch.zeros_like(voxels_mev)) @ self.members
        starts = [sum(self.layer_sizes[:layer]) for layer in range(len(self.layer_sizes))]
        return torch.where(sums > 0, sums, dequantised_mev[:, starts])

    @torch.no_grad()
    def fit(self, dequantised_mev: Tensor, energies_mev: Tensor, context: Tensor) -> None:
        """Learn the standardisation from dequantised voxels (N, V), layer energies (N, L) and context."""
        u, _ = self._unscaled(dequantised_mev, energies_mev)
        if self.config.voxels == "log":
            always = (dequantised_mev >= self.config.threshold_mev).double().mean(0) > _ALWAYS_LIT
        else:
            always = torch.ones(u.shape[1], dtype=torch.bool, device=u.device)
        self.standardisation.fit(u, context, regress=always & self.config.standardise)
        if self.config.voxels == "log":
            rarely = ~always
            self.standardisation.scale.copy_(
                torch.where(rarely, self.standardisation.scale.clamp_min(_LEAST_SCALE), self.standardisation.scale)
            )

    def within_range(self, y: Tensor) -> Tensor:
        """Move y (N, V) into the range that `limit` has found: no flow knows where the data end."""
        return torch.minimum(torch.maximum(y, self.lowest), self.highest)

    @torch.no_grad()
    def limit(self, y: Tensor) -> None:
        """Set the range of each voxel to that of y (N, V), widened by `_MARGIN` at both ends."""
        self.lowest.copy_(y.amin(0) - _MARGIN)
        self.highest.copy_(y.amax(0) + _MARGIN)

    def forward(self, dequantised_mev: Tensor, energies_mev: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Dequantised voxels (N, V) in MeV to y (N, V) and log |dy/dv| (N,) at fixed layer energies."""
        u, log_det = self._unscaled(dequantised_mev, energies_mev)
        y, log_scale = self.standardisation(u, context)
        return y, log_det + log_scale

    def inverse(self, y: Tensor, energies_mev: Tensor, context: Tensor) -> Tensor:
        """Undo `forward`; energies (N, V) in MeV, dequantised (dark voxels are small but not zero)."""
        u = self.standardisation.inverse(y, context)
        if self.config.voxels == "logit":
            part, _ = share_of_logit(u)
            return part * (energies_mev @ self.members.T)
        # exp(+-60) stays finite and above zero in float32; no voxel holds 1e24 MeV
        return self.config.threshold_mev * u.clamp(-60.0, 60.0).exp()

    def to_showers(self, dequantised_mev: Tensor, energies_mev: Tensor) -> Tensor:
        """Dark voxels to zero and every layer to its energy: (N, V) MeV whose layer sums are `energies_mev`.

        With `log`, values between the dark and the lit population are split a quarter of the way from the
        threshold to dark_mean; those on the lit side are reflected at the threshold, which no lit voxel of the
        data is below. The spectrum of the lit ones is then mapped as `SpectrumMap` has learnt.
        The largest voxel of a layer is always lit, so that the layer's energy has a place to go. A layer energy
        below the threshold is an empty layer. In sparse layers small differences are given to the bright voxels, so
        that the lines in the spectrum of the others stay where they are.
        """
        target = self.final_energies(energies_mev)
        if self.config.voxels == "logit":
            values = dequantised_mev.clamp_min(1e-20)  # a layer of zeros could not be scaled to its energy
        else:
            threshold = self.config.threshold_mev
            u = (dequantised_mev / threshold).log()
            # in this order NaN, which damaged weights give, is not dark and stays NaN for all to see
            dark = (u < CUT * self.config.dark_mean) & (u < self._largest(u) @ self.members.T)
            values = torch.where(dark, torch.zeros_like(u), threshold * self.spectrum(u.abs()).exp())
            values = self._towards(values, target)
        return values * ((target / (values @ self.members).clamp_min(1e-30)) @ self.members.T)

    def _towards(self, values: Tensor, target: Tensor) -> Tensor:
        """In sparse layers change each voxel (N, V) by a part of itself that grows with it, towards sums (N, L)."""
        largest = self._largest(values).clamp_min(1e-20)
        share = values * ((1 / largest) @ self.members.T)  # the squares of voxels may exceed float32
        whole = largest * ((share * share) @ self.members)
        missing = target - values @ self.members
        # so that none changes its sign, nor two their order
        missing = torch.minimum(torch.maximum(missing, -_MOST_CHANGE * whole), _MOST_CHANGE * whole)
        return values * (1 + share * ((self.spectrum.sparse * missing / whole.clamp_min(1e-20)) @ self.members.T))

    def final_energies(self, energies_mev: Tensor) -> Tensor:
        """Layer energies (N, L) of the showers: Flow I's, zero where a layer is empty."""
        if self.config.voxels == "logit":
            return energies_mev
        return torch.where(energies_mev < self.config.threshold_mev, torch.zeros_like(energies_mev), energies_mev)

    def apply_threshold(self, voxels_mev: Tensor, energies_mev: Tensor) -> Tensor:
        """Voxels below the threshold to zero; with `renormalise_after_threshold` the layer sums are restored."""
        below = voxels_mev < self.config.threshold_mev  # NaN is not
        kept = torch.where(below, torch.zeros_like(voxels_mev), voxels_mev)
        if not self.config.renormalise_after_threshold:
            return kept
        sums = kept @ self.members
        target = self.final_energies(energies_mev)
        factor = torch.where(sums > 0, target / sums.clamp_min(1e-30), torch.zeros_like(sums))
        return kept * (factor @ self.members.T)

    def _unscaled(self, dequantised_mev: Tensor, energies_mev: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.voxels == "log":
            u = (dequantised_mev / self.config.threshold_mev).log()
            return u, -dequantised_mev.log().sum(1)
        whole = energies_mev @ self.members.T
        u, log_slope = logit_of_share(dequantised_mev, (whole - dequantised_mev).clamp_min(0.0))
        return u, (log_slope - whole.log()).sum(1)

    def _largest(self, values: Tensor) -> Tensor:
        """Largest value of each layer, (N, V) to (N, L)."""
        return torch.cat([part.amax(1, keepdim=True) for part in values.split(self.layer_sizes, dim=1)], dim=1)
