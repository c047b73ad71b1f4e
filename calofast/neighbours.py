"""Which cells are near each other, and how cells are divided for couplings so that neighbours are on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.errors import GeometryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from calofast.layer import Layer

_OWN_LAYER = 3  # neighbours from the cell's own layer for each one from the layers in front and behind


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of some layers, in the order of the voxel axis.

    Attributes:
        layer: number of the layer, shape (V,).
        x_mm: midpoints, shape (V,).
        y_mm: midpoints, shape (V,).
        odd: the black fields if each layer is seen as a chessboard, shape (V,).
    """

    layer: NDArray[np.int64]
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]
    odd: NDArray[np.bool_]

    @staticmethod
    def of(layers: Sequence[Layer], *, first: int = 0) -> Cells:
        """Cells of layers with numbers from `first` on; none of no layers."""
        found = Cells(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.bool_))
        for number, layer in enumerate(layers, start=first):
            odd = np.indices(layer.shape).sum(0).ravel() % 2 == 1
            found = found.followed_by(Cells(np.full(layer.n_voxels, number), layer.x_mm, layer.y_mm, odd))
        return found

    def __len__(self) -> int:
        return len(self.layer)

    def take(self, index: NDArray[np.int64]) -> Cells:
        """Some of the cells."""
        return Cells(self.layer[index], self.x_mm[index], self.y_mm[index], self.odd[index])

    def followed_by(self, other: Cells) -> Cells:
        """These cells, then others."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Cells(*(np.concatenate(pair) for pair in pairs))


def nearest(cells: Cells, sources: Cells, count: int) -> NDArray[np.int64]:
    """For each cell the places of its nearest sources, shape (V, count).

    Three of four are from the cell's own layer, the others from the layers in front and behind, as far as there are
    so many; distances are those of the midpoints in the plane of the layer.

    Raises:
        GeometryError: there are fewer sources.
    """
    if len(sources) < count:
        raise GeometryError(
            "there are not so many cells to be neighbours", expected=f"at most {len(sources)}", found=count
        )
    table = np.empty((len(cells), count), np.int64)
    for layer in np.unique(cells.layer):
        rows = np.flatnonzero(cells.layer == layer)
        distant = np.abs(sources.layer - layer)
        scores = np.empty((len(rows), len(sources)))
        for group, weight in ((distant == 0, 1.0), (distant == 1, _OWN_LAYER), (distant > 1, float(len(sources)))):
            columns = np.flatnonzero(group)
            away = np.hypot(
                cells.x_mm[rows, None] - sources.x_mm[columns], cells.y_mm[rows, None] - sources.y_mm[columns]
            )
            # rounded: equal distances keep the order of the cells, whatever the last digit says
            order = np.argsort(np.round(away, 6), axis=1, kind="stable")
            ranks = np.argsort(order, axis=1, kind="stable")
            scores[:, columns] = (ranks + 1) * weight
        table[rows] = np.argsort(scores, axis=1, kind="stable")[:, :count]
    return table


def arrangements(cells: Cells, blocks: int, generator: torch.Generator, *, chessboard: bool = True) -> Iterator[Tensor]:
    """Orders of V cells, one for each coupling: the first V // 2 stay, the others are moved given these.

    Blocks come in pairs that exchange the halves. Every other pair divides the cells like a chessboard, so that all
    neighbours of a cell are on the other side; the pairs between divide at random, and all do without `chessboard`.
    """
    half = len(cells) // 2
    board = torch.from_numpy(np.argsort(cells.odd, kind="stable"))
    order = board
    for block in range(blocks):
        if block % 2:
            order = order.roll(-half)
        else:
            order = board if chessboard and block % 4 == 0 else torch.randperm(len(cells), generator=generator)
        yield order
