"""Showers for `hepflows.refine`: classifier inputs as a module, and the likelihood for fine-tuning."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from calofast.calibrate import calibrate
from calofast.condition_values import conditions_of
from calofast.dataset import make_tensors
from calofast.generator import CaloGenerator
from calofast.shower_shapes import layer_axes
from calofast.showers import require_cells
from hepflows.document import document_of, tuned_document
from hepflows.draws import integers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from calofast.dataset import ShowerTensors
    from calofast.geometry import Geometry
    from calofast.showers import Showers

_LEAST_MEV = 1e-3
_LEAST_VARIANCE = 1e-6  # beyond what float32 leaves of a difference of squares, which for cells in a ring is 0


class ShowerFeatures(nn.Module):
    """Voxels (N, V) in MeV and conditions (N, C) to classifier inputs (N, V + 4 L + 2 + 2 A + C).

    log10 of voxels and layer energies over the hit threshold, 0 below it; log10 of deposited over incident energy, and
    the same without logarithm; each layer's share of the deposited energy; centre and width along each of the A axes
    of all layers (see `calofast.shower_shapes.layer_axes`), over the largest distance of a cell from 0 on that axis; of
    each layer the share of lit voxels and that of the brightest one in the energy, all 0 for a dark layer; log10 of the
    incident energy in GeV; further conditions as they are. What lies below the threshold counts as dark, so that
    showers before and after the threshold have the same inputs.

    A perceptron finds the shapes in the voxels only with many more showers than are at hand, and voxels, which are
    many, would drown them: together they weigh as much as one other input (`emphasis`).

    Args:
        geometry: of the voxels.
        threshold_mev: hit threshold, 1 keV at least.
        n_conditions: C, the incident energy among them.
    """

    layers: Tensor
    positions: Tensor
    axis_layer: Tensor
    emphasis: Tensor

    def __init__(self, geometry: Geometry, threshold_mev: float, n_conditions: int = 1) -> None:
        super().__init__()
        self.threshold = max(threshold_mev, _LEAST_MEV)
        self.sizes = geometry.layer_sizes
        member = np.eye(geometry.n_layers, dtype=np.float32)[geometry.layer_index]
        self.register_buffer("layers", torch.from_numpy(member))
        columns, owners = [], []
        for number, (layer, part) in enumerate(zip(geometry.layers, geometry.layer_slices, strict=True)):
            for position in layer_axes(layer).values():
                column = np.zeros(geometry.n_voxels, np.float32)
                column[part] = position / np.abs(position).max()
                columns.append(column)
                owners.append(number)
        positions = np.stack(columns, axis=1) if columns else np.zeros((geometry.n_voxels, 0), np.float32)
        self.register_buffer("positions", torch.from_numpy(positions))
        self.register_buffer(
            "axis_layer", torch.from_numpy(np.eye(geometry.n_layers, dtype=np.float32)[owners].T.copy())
        )
        emphasis = torch.ones(geometry.n_voxels + 4 * geometry.n_layers + 2 + 2 * len(owners) + n_conditions)
        emphasis[: geometry.n_voxels] = geometry.n_voxels**-0.5
        self.register_buffer("emphasis", emphasis)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """Inputs of the classifier."""
        lit = torch.where(x < self.threshold, torch.zeros_like(x), x)
        energies = lit @ self.layers
        total = energies.sum(1, keepdim=True)
        energy = cond[:, :1]
        return torch.cat(
            [
                _log10(lit.clamp_min(self.threshold) / self.threshold),
                _log10(energies.clamp_min(self.threshold) / self.threshold),
                _log10(total.clamp_min(self.threshold) / (1000 * energy)),
                total / (1000 * energy),
                energies / total.clamp_min(self.threshold),
                *self._shapes(lit, energies),
                _log10(energy),
                cond[:, 1:],
            ],
            dim=1,
        )

    def _shapes(self, lit: Tensor, energies: Tensor) -> tuple[Tensor, ...]:
        some = energies.clamp_min(self.threshold)  # of a dark layer all sums are 0
        shares = lit / (some @ self.layers.T)  # of the layer: squares of voxels in MeV might overflow
        centres = shares @ self.positions
        squares = shares @ (self.positions * self.positions)
        widths = (squares - centres * centres).clamp_min(_LEAST_VARIANCE).sqrt() * (energies > 0).to(lit.dtype).matmul(
            self.axis_layer
        )
        hits = (lit > 0).to(lit.dtype) @ (self.layers / self.layers.sum(0))
        brightest = torch.cat([part.amax(1, keepdim=True) for part in shares.split(list(self.sizes), dim=1)], dim=1)
        return centres, widths, hits, brightest


class ShowerRefinement:
    """Meets `hepflows.refine.adapter.Adapter`."""

    def conditions(self, events: Showers) -> Mapping[str, NDArray[np.floating[Any]]]:
        """Incident energies and further conditions by name."""
        return conditions_of(events)

    def numbers(self, generator: CaloGenerator, events: Showers) -> NDArray[np.float32]:
        """Voxels in MeV, shape (N, V)."""
        require_cells(generator.geometry, events)
        return events.voxels_mev

    def features(self, generator: CaloGenerator) -> ShowerFeatures:
        """Classifier inputs, see there."""
        threshold = generator.config.preprocessing.threshold_mev
        return ShowerFeatures(generator.geometry, threshold, len(generator.condition_names))

    def latent_emphasis(self, generator: CaloGenerator) -> NDArray[np.float32]:
        """Latents of Flow I, whose few numbers decide much, beside those of Flow II, which weigh as one together."""
        totals, voxels = generator.model.n_totals, generator.geometry.n_voxels
        return np.concatenate([np.ones(totals), np.full(voxels, voxels**-0.5)]).astype(np.float32)

    def fine_tuning(self, generator: CaloGenerator, events: Showers, *, device: str) -> ShowerFineTuning:
        """Both flows of a copy of the generator, trained by their exact likelihoods."""
        require_cells(generator.geometry, events)
        return ShowerFineTuning(generator, make_tensors(events, generator.config, device), device=device)


class ShowerFineTuning:
    """Meets `hepflows.refine.adapter.FineTuning`.

    Args:
        generator: what is trained further; it stays as it is.
        data: showers, split as in the first training.
        device: torch device.
    """

    def __init__(self, generator: CaloGenerator, data: ShowerTensors, *, device: str) -> None:
        self._generator, self._data = generator, data
        self._model = copy.deepcopy(generator.model).to(device)
        self.module = nn.ModuleList([self._model.layer_energies, self._model.shower_flow])
        self.training_events: NDArray[np.int64] = data.train.cpu().numpy()
        self.validation_events: NDArray[np.int64] = data.validation.cpu().numpy()

    def losses(self, events: NDArray[np.int64], *, training: bool) -> Tensor:
        """- log p1(layer energies) - log p2(voxels) in model space, shape (B,); mirrored at random if `training`."""
        rows = torch.from_numpy(events).to(self._data.voxels_mev.device)
        voxels, conditions = self._data.voxels_mev[rows], self._data.conditions[rows]
        if training and len(self._data.mirrors) > 1:
            choice = integers(len(self._data.mirrors), len(rows), device=voxels.device)
            voxels = voxels.gather(1, self._data.mirrors[choice])
        first = self._model.layer_energies.flow.log_prob(*self._model.prepare_layers(voxels, conditions))
        second = self._model.shower_flow.log_prob(*self._model.prepare_voxels(voxels, conditions))
        return -first - second

    def generator(
        self, training: Mapping[str, Any] | None = None, provenance: Mapping[str, Any] | None = None
    ) -> CaloGenerator:
        """The generator as it is trained now."""
        old = self._generator
        document = tuned_document(document_of(old.document), training or {}, provenance or {})
        device = old.model.conditions.low.device
        found = CaloGenerator(copy.deepcopy(self._model).to(device), old.geometry, old.config, document)
        calibrate(found, self._data)
        return found


def _log10(x: Tensor) -> Tensor:
    return x.log() * (1 / math.log(10))
