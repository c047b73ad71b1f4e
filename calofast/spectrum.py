"""Monotone map of a generator's voxel spectrum onto that of the data, layer by layer.

A flow smooths what is sharp in the spectrum of single voxels: the edge at the threshold, the lines of X-rays and of
annihilation photons. They are one-dimensional, so that after the training the map between the quantiles of generated
and of real voxels restores them. It changes no order, moves an energy by a factor of 2.7 at most, and leaves those
beyond 10^5 thresholds alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

_KNOTS = 960
_STEP = 0.0125  # in log(v / threshold): resolves lines where voxels sum up few deposits
_TOP = _KNOTS * _STEP
_BLEND = 2.0  # below _TOP, over which the map turns into the identity
_ENTRIES = 25  # voxels between two quantiles
_FARTHEST = 1.0  # that the map moves a value: it sharpens what has been learnt, and replaces no training
_LEAST_SLOPE = 0.02
_SPARSE = 1 / 3


class SpectrumMap(nn.Module):
    """Piecewise linear map of log(v / threshold) >= 0, one for each layer, the identity at the start.

    Args:
        layer_sizes: voxels of each layer.

    Attributes:
        sparse: 1 for layers in which few voxels are lit, so that single deposits make lines, else 0; shape (L,).
    """

    table: Tensor
    layer: Tensor
    sparse: Tensor

    def __init__(self, layer_sizes: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("table", self._identity().expand(len(layer_sizes), -1).clone())
        self.register_buffer("sparse", torch.zeros(len(layer_sizes)))
        index = torch.repeat_interleave(torch.arange(len(layer_sizes)), torch.tensor(layer_sizes))
        self.register_buffer("layer", index, persistent=False)

    @staticmethod
    def _identity() -> Tensor:
        return torch.arange(_KNOTS + 1) * _STEP

    def forward(self, u: Tensor) -> Tensor:
        """Shape (N, V), values from zero on, to (N, V); portable operators only."""
        inside = u < _TOP  # not so NaN, which has no place in the table
        position = torch.where(inside, u / _STEP, torch.zeros_like(u)).clamp(0.0, _KNOTS - 1e-3)
        below = position.long()  # towards zero: it is not negative
        index = (below + self.layer * (_KNOTS + 1)).flatten()
        flat = self.table.flatten()
        left, right = (flat.index_select(0, at).reshape(u.shape) for at in (index, index + 1))
        mapped = left + (position - below.to(u)) * (right - left)
        return torch.where(inside, mapped, u)

    def inverse(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `forward`: (N, V) to (N, V) and the logarithms of the slopes of the inverse map, (N, V)."""
        columns = [
            _inverse(part, row.contiguous())
            for part, row in zip(u.split(self._sizes(), dim=1), self.table, strict=True)
        ]
        values, slopes = (torch.cat(parts, dim=1) for parts in zip(*columns, strict=True))
        return values, slopes

    @torch.no_grad()
    def reset(self) -> None:
        """Become the identity."""
        self.table.copy_(self._identity().expand_as(self.table))

    @torch.no_grad()
    def note_sparse(self, lit_share: Sequence[float]) -> None:
        """Learn which layers are sparse, from the share of each one's voxels that are lit."""
        self.sparse.copy_(torch.tensor([float(share < _SPARSE) for share in lit_share]))

    @torch.no_grad()
    def compose(self, made: Sequence[NDArray[np.floating]], real: Sequence[NDArray[np.floating]]) -> None:
        """Append the map between the quantiles of what came out and those of the data.

        Args:
            made: for each layer log(v / threshold) of generated voxels that are lit, in any order.
            real: the same of the data.
        """
        for row, ours, theirs in zip(self.table, made, real, strict=True):
            count = min(len(ours), len(theirs)) // _ENTRIES
            if count > 1:
                further = _quantile_map(np.asarray(row.cpu(), np.float64), ours, theirs, min(count, 4000))
                row.copy_(torch.from_numpy(further))

    def _sizes(self) -> list[int]:
        return torch.bincount(self.layer, minlength=len(self.table)).tolist()


def _inverse(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    place = torch.searchsorted(row, u.contiguous(), right=True).clamp(1, _KNOTS)
    left, right = row[place - 1], row[place]
    slope = _STEP / (right - left)
    inside = u < row[-1]
    value = (place - 1) * _STEP + (u - left) * slope
    return torch.where(inside, value, u), torch.where(inside, slope.log(), torch.zeros_like(u))


def _quantile_map(
    at: NDArray[np.float64], ours: NDArray[np.floating], theirs: NDArray[np.floating], count: int
) -> NDArray[np.float64]:
    """Values at the knots, which become strictly increasing and end at the identity."""
    levels = np.linspace(0.0, 1.0, count + 1)
    source, target = (np.quantile(values.astype(np.float64), levels) for values in (ours, theirs))
    source[0] = target[0] = 0.0
    distinct = np.concatenate([[True], np.diff(source) > 0])
    found = np.interp(at, source[distinct], target[distinct])
    found[at > source[-1]] = at[at > source[-1]]
    knots = np.arange(_KNOTS + 1) * _STEP
    share = np.clip((_TOP - knots) / _BLEND, 0.0, 1.0)
    found = knots + share * np.clip(found - knots, -_FARTHEST, _FARTHEST)
    least = _LEAST_SLOPE * _STEP
    rising: NDArray[np.float64] = np.maximum.accumulate(found - least * np.arange(_KNOTS + 1))
    return rising + least * np.arange(_KNOTS + 1)
