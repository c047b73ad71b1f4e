"""Flow II, one function for each architecture."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import torch

from calofast.inductive import LayerByLayer
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation, within_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from calofast.config import CaloFlowConfig, StudentConfig, TeacherConfig

Kind = Literal["teacher", "student", "coupling", "inductive"]
"""What a generator has as Flow II: a MAF, an IAF distilled from it, a coupling flow, or one flow a layer."""


def shower_flow(
    layer_sizes: Sequence[int], context_features: int, config: CaloFlowConfig, kind: Kind
) -> ConditionalFlow:
    """Untrained Flow II of a kind, for voxels of the layers' sizes."""
    if kind == "inductive":
        return ConditionalFlow([LayerByLayer(layer_sizes, context_features, config.inductive, seed=config.seed + 1)])
    if kind == "coupling":
        return _coupling(sum(layer_sizes), context_features, config)
    return _autoregressive(layer_sizes, context_features, config, student=kind == "student")


def _coupling(features: int, context_features: int, config: CaloFlowConfig) -> ConditionalFlow:
    """Couplings with halves drawn at random from all voxels (CaloINN, arXiv:2312.09290)."""
    shape = config.coupling
    make = partial(
        SplineCoupling,
        features,
        context_features,
        shape.spline.settings(),
        width=shape.width,
        blocks=shape.depth,
        dropout=shape.dropout,
    )
    generator = torch.Generator().manual_seed(config.seed + 1)
    return ConditionalFlow(coupling_blocks(features, make, blocks=shape.blocks, generator=generator))


def _autoregressive(
    layer_sizes: Sequence[int], context_features: int, config: CaloFlowConfig, *, student: bool
) -> ConditionalFlow:
    """MAF or IAF; permutations alternate "reverse within each layer" and "fixed random within each layer"."""
    generator = torch.Generator().manual_seed(config.seed + 1)
    shared = config.teacher
    cls: type[MaskedAutoregressive | InverseAutoregressive] = MaskedAutoregressive
    network: TeacherConfig | StudentConfig = shared
    if student:
        cls, network = InverseAutoregressive, config.require_student()
    transforms: list[nn.Module] = []
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
