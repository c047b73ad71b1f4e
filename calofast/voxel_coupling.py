"""Spline couplings of voxels, which know the voxels' neighbours.

CaloINN, arXiv:2312.09290, with geometry: cells are divided like a chessboard in every other pair of couplings, and the
splines of a voxel get linear terms of the nearest voxels beside what the dense conditioner gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from calofast.neighbours import Cells, arrangements, nearest
from hepflows.coupling import SplineCoupling
from hepflows.errors import ConfigError
from hepflows.permutations import Permutation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from calofast.config import CouplingShape
    from calofast.layer import Layer


def voxel_couplings(
    layers: Sequence[Layer],
    context_features: int,
    config: CouplingShape,
    *,
    dropout: float,
    generator: torch.Generator,
    front: Layer | None = None,
    front_at: int = 0,
) -> list[nn.Module]:
    """Couplings of the voxels of some layers, and the permutations between them; the order is that of the start again.

    Args:
        layers: their layers.
        context_features: number of context inputs.
        config: shape of the networks.
        dropout: dropout in them.
        generator: of the random divisions.
        front: the layer in front of them, if its voxels are part of the context.
        front_at: where they begin there.

    Raises:
        ConfigError: fewer than two couplings, or than two voxels.
    """
    cells = Cells.of(layers, first=1)
    features, half = len(cells), len(cells) // 2
    if config.blocks < 2:
        raise ConfigError("a coupling flow needs at least two blocks", found=config.blocks)
    given = Cells.of([] if front is None else [front])
    transforms: list[nn.Module] = []
    current = torch.arange(features)
    for order in arrangements(cells, config.blocks, generator, chessboard=config.halves == "chessboard"):
        if not torch.equal(order, current):
            transforms.append(Permutation(torch.argsort(current)[order]))
        current = order
        kept, moved = order[:half].numpy(), order[half:].numpy()
        sources = cells.take(kept).followed_by(given)
        near = torch.from_numpy(nearest(cells.take(moved), sources, min(config.neighbours, len(sources))))
        transforms.append(
            SplineCoupling(
                features,
                context_features,
                config.spline.settings(),
                width=config.width,
                blocks=config.depth,
                dropout=dropout,
                neighbours=torch.where(near < half, near, near + front_at) if near.numel() else None,
            )
        )
    return [*transforms, Permutation(torch.argsort(current))]
