"""Flow II, one function for each architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from calofast.inductive import LayerByLayer
from calofast.voxel_coupling import voxel_couplings
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation, within_groups

if TYPE_CHECKING:
    from torch import nn

    from calofast.config import CaloFlowConfig, StudentConfig, TeacherConfig
    from calofast.geometry import Geometry

Kind = Literal["teacher", "student", "coupling", "inductive"]
"""What a generator has as Flow II: a MAF, an IAF distilled from it, a coupling flow, or one flow a layer."""


def shower_flow(geometry: Geometry, context_features: int, config: CaloFlowConfig, kind: Kind) -> ConditionalFlow:
    """Untrained Flow II of a kind, for the voxels of a geometry."""
    if kind == "inductive":
        return ConditionalFlow(
            [LayerByLayer(geometry.layers, context_features, config.inductive, seed=config.seed + 1)]
        )
    if kind == "coupling":
        shape, generator = config.coupling, torch.Generator().manual_seed(config.seed + 1)
        return ConditionalFlow(
            voxel_couplings(geometry.layers, context_features, shape, dropout=shape.dropout, generator=generator)
        )
    return _autoregressive(geometry, context_features, config, student=kind == "student")


def _autoregressive(
    geometry: Geometry, context_features: int, config: CaloFlowConfig, *, student: bool
) -> ConditionalFlow:
    """The head, then MAF or IAF; permutations alternate "reverse in each layer" and "fixed random in each layer"."""
    generator = torch.Generator().manual_seed(config.seed + 1)
    shared, layer_sizes = config.teacher, geometry.layer_sizes
    cls: type[MaskedAutoregressive | InverseAutoregressive] = MaskedAutoregressive
    network: TeacherConfig | StudentConfig = shared
    if student:
        cls, network = InverseAutoregressive, config.require_student()
    transforms: list[nn.Module] = []
    if shared.head is not None:
        transforms = voxel_couplings(
            geometry.layers, context_features, shared.head, dropout=network.dropout, generator=generator
        )
    for block in range(shared.blocks):
        transforms.append(
            cls(
                sum(layer_sizes),
                context_features,
                network.hidden,
                shared.spline.settings(),
                degrees=shared.degrees,
                dropout=network.dropout,
            )
        )
        if block < shared.blocks - 1:
            transforms.append(Permutation(within_groups(layer_sizes, generator if block % 2 else None)))
    return ConditionalFlow(transforms)
