"""Flow II layer by layer, for calorimeters of thousands of voxels.

p(y) = p(y_0 | c) prod_n p(y_n | y_{n-1}, c, n): the voxels of a layer given those of the layer in front of it, the
conditions and all layer energies. Inductive CaloFlow, Buckley et al., arXiv:2305.11934, section 3; differences: layers
of any sizes, coupling flows (fast in both directions, so that there is nothing to distil), and all layer energies
instead of two as context.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from calofast.voxel_coupling import voxel_couplings
from hepflows.flow import ConditionalFlow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from calofast.config import CouplingConfig
    from calofast.layer import Layer


class LayerByLayer(nn.Module):
    """Transformation of the voxels of L layers; each layer by a flow that is given the layer in front of it.

    Layers that agree in their own cells and in those of the layer in front of them share one network, which is told
    their number as a one-hot vector.

    Args:
        layers: the calorimeter's layers, two voxels at least in each.
        context_features: number of context inputs C.
        config: shape of the networks.
        seed: of the permutations.
    """

    def __init__(self, layers: Sequence[Layer], context_features: int, config: CouplingConfig, *, seed: int) -> None:
        super().__init__()
        self.layer_sizes = [layer.n_voxels for layer in layers]
        alike: dict[tuple[Layer | None, Layer], list[int]] = {}
        cells = [replace(layer, name="", z_mm=None) for layer in layers]
        for number, pair in enumerate(zip([None, *cells[:-1]], cells, strict=True)):
            alike.setdefault(pair, []).append(number)
        self.groups = list(alike.values())
        generator = torch.Generator().manual_seed(seed)
        self.flows = nn.ModuleList()
        for (front, layer), numbers in alike.items():
            inputs = context_features + (front.n_voxels if front else 0) + _number_inputs(numbers)
            couplings = voxel_couplings(
                [layer],
                inputs,
                config,
                dropout=config.dropout,
                generator=generator,
                front=front,
                front_at=context_features,
            )
            self.flows.append(ConditionalFlow(couplings))

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Data to latent: (N, V) to (N, V) and log |dz/dx| of shape (N,); the layers of a network side by side."""
        voxels = x.split(self.layer_sizes, dim=1)
        latent = list(voxels)
        total = x.new_zeros(len(x))
        for flow, layers in zip(self._chains, self.groups, strict=True):
            given = torch.cat([self._given(voxels, context, layers, place) for place in range(len(layers))])
            z, log_det = flow(torch.cat([voxels[layer] for layer in layers]), given)
            for layer, part in zip(layers, z.split(len(x)), strict=True):
                latent[layer] = part
            total = total + log_det.reshape(len(layers), len(x)).sum(0)
        return torch.cat(latent, dim=1), total

    def inverse(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Latent to data: (N, V) to (N, V) and log |dx/dz| of shape (N,); one layer after the other."""
        voxels: list[Tensor] = []
        total = z.new_zeros(len(z))
        for layer, noise in enumerate(z.split(self.layer_sizes, dim=1)):
            flow, given = self._step(voxels, context, layer)
            part, log_det = flow.inverse(noise, given)
            voxels.append(part)
            total = total + log_det
        return torch.cat(voxels, dim=1), total

    def is_separable(self, v: Tensor, context: Tensor | None) -> bool:
        """Whether each sample is evaluated as if it were alone, by the CPU kernels."""
        return all(flow.is_separable(v, context) for flow in self._chains)

    @property
    def _chains(self) -> list[ConditionalFlow]:
        return [flow for flow in self.flows if isinstance(flow, ConditionalFlow)]

    def _step(self, voxels: Sequence[Tensor], context: Tensor, layer: int) -> tuple[ConditionalFlow, Tensor]:
        """Flow of a layer, and its context from the layers in front of it."""
        number = next(number for number, layers in enumerate(self.groups) if layer in layers)
        layers = self.groups[number]
        return self._chains[number], self._given(voxels, context, layers, layers.index(layer))

    @staticmethod
    def _given(voxels: Sequence[Tensor], context: Tensor, layers: Sequence[int], place: int) -> Tensor:
        """Context of a layer: the common one, the layer in front, the number among the layers of the network."""
        layer = layers[place]
        parts = [context] if layer == 0 else [context, voxels[layer - 1]]
        if count := _number_inputs(layers):
            number = torch.zeros(count, dtype=context.dtype, device=context.device)
            number[place] = 1.0
            parts.append(torch.zeros_like(context[:, :1]) + number)  # a graph would keep the batch of expand()
        return torch.cat(parts, dim=1)


def _number_inputs(layers: Sequence[int]) -> int:
    """Inputs that tell a network's layers apart; none for a single one."""
    return len(layers) if len(layers) > 1 else 0
