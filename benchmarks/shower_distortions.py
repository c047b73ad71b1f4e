"""Known mistakes of a generator, made on purpose in showers of the simulation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from calofast import Showers

    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """A mistake.

    Attributes:
        name: short name.
        meaning: what it does, for tables.
        metrics: the metrics meant for it, patterns of which one must fail its gate.
        apply: makes the mistake in showers; the second argument is a seed.
    """

    name: str
    meaning: str
    metrics: tuple[str, ...]
    apply: Callable[[Showers, int], Showers]


def energy_scale(showers: Showers, seed: int = 0, *, by: float = 1.01) -> Showers:
    """Every voxel has 1 % more energy."""
    del seed
    return _with(showers, showers.voxels_mev * np.float64(by))


def layer_fraction(showers: Showers, seed: int = 0, *, by: float = 1.02) -> Showers:
    """The share of the layer with most energy is 2 % larger, that of the others smaller: E_tot stays."""
    del seed
    layers = showers.layer_energies_mev
    chosen = int(layers.sum(0).argmax())
    total, part = layers.sum(1), layers[:, chosen]
    grown = np.minimum(part * by, total)
    factors = np.ones_like(layers)
    rest = np.maximum(total - part, np.finfo(float).tiny)
    factors[:] = ((total - grown) / rest)[:, None]
    factors[:, chosen] = np.where(part > 0, grown / np.maximum(part, np.finfo(float).tiny), 1.0)
    return _with(showers, showers.voxels_mev * factors[:, showers.geometry.layer_index])


def width(showers: Showers, seed: int = 0, *, by: float = 1.03) -> Showers:
    """Energy moves outwards along x and y, until both widths of each layer of each shower are 3 % larger.

    Each voxel gets the weight 1 + a (u^2 - 1) + b (v^2 - 1), with u and v its distances from the centre in widths: the
    layer's energy stays, and two linear equations give the a and b by which both variances grow as wanted. Layers of
    few lit voxels, where no small a and b do that, stay as they are.
    """
    del seed
    voxels = showers.voxels_mev.astype(np.float64)
    for part, layer in zip(showers.geometry.layer_slices, showers.geometry.layers, strict=True):
        cells = voxels[:, part]
        share = cells / np.maximum(cells.sum(1), np.finfo(float).tiny)[:, None]
        u, v = (_squares(share, position) - 1 for position in (layer.x_mm, layer.y_mm))
        uu, vv, uv = ((share * product).sum(1) for product in (u * u, v * v, u * v))
        determinant = uu * vv - uv**2
        solvable = determinant > 0.05
        scale = np.divide(by**2 - 1, determinant, out=np.zeros_like(determinant), where=solvable)
        weights = 1 + (scale * (vv - uv))[:, None] * u + (scale * (uu - uv))[:, None] * v
        positive = np.where(share > 0, weights, 1.0).min(1) > 0
        voxels[:, part] = np.where(positive[:, None], cells * weights, cells)
    return _with(showers, voxels)


def _squares(share: Floats, position: Floats) -> Floats:
    """Squared distances of cells from the centre (N, V) in units of the variance; 1 where there is none."""
    offset = position - (share * position).sum(1)[:, None]
    variance = (share * offset**2).sum(1)[:, None]
    return np.asarray(np.divide(offset**2, variance, out=np.ones_like(offset), where=variance > 0))


def dead_cell(showers: Showers, seed: int = 0) -> Showers:
    """One cell, lit in about a third of the showers, never has energy."""
    del seed
    occupancy = (showers.voxels_mev > 0).mean(0)
    voxels = showers.voxels_mev.copy()
    voxels[:, int(np.abs(occupancy - 1 / 3).argmin())] = 0.0
    return _with(showers, voxels)


def shuffled_phi(showers: Showers, seed: int = 0) -> Showers:
    """The columns of cells along phi (y, or alpha) of each layer of each shower stand in random order."""
    rng = np.random.default_rng(seed)
    voxels = showers.voxels_mev.copy()
    for part, layer in zip(showers.geometry.layer_slices, showers.geometry.layers, strict=True):
        first, second = layer.shape
        cells = voxels[:, part].reshape(-1, first, second)
        cylindrical = layer.kind == "cylindrical"
        shuffled = rng.permuted(np.arange(first if cylindrical else second)[None].repeat(len(showers), 0), axis=1)
        index = shuffled[:, :, None] if cylindrical else shuffled[:, None, :]
        voxels[:, part] = np.take_along_axis(cells, index, 1 if cylindrical else 2).reshape(len(showers), -1)
    return _with(showers, voxels)


def sparsity(showers: Showers, seed: int = 0, *, share: float = 0.2, below_mev: float = 1.0) -> Showers:
    """A fifth of the voxels with less than 1 MeV, drawn at random, is dark: about 5 % of the lit ones."""
    soft = (showers.voxels_mev > 0) & (showers.voxels_mev < below_mev)
    lost = soft & (np.random.default_rng(seed).random(showers.voxels_mev.shape) < share)
    return _with(showers, np.where(lost, np.float32(0), showers.voxels_mev))


def mode_drop(showers: Showers, seed: int = 0, *, share: float = 0.05) -> Showers:
    """The 5 % of the showers that start latest (largest mean depth) never occur."""
    del seed
    layers = showers.layer_energies_mev
    depth = layers @ np.arange(layers.shape[1]) / np.maximum(layers.sum(1), np.finfo(float).tiny)
    return showers.select(depth <= np.quantile(depth, 1 - share))


DISTORTIONS: Final = (
    Distortion(name="energy scale", meaning="all voxels 1 % up", metrics=("e_tot_ratio_mean",), apply=energy_scale),
    Distortion(
        name="layer fraction",
        meaning="the main layer's share 2 % up",
        metrics=("layer_fraction_*_bin_*",),
        apply=layer_fraction,
    ),
    Distortion(
        name="width", meaning="x and y widths 3 % up", metrics=("separation_width_*", "w1_width_*"), apply=width
    ),
    Distortion(
        name="dead cell",
        meaning="one cell of occupancy 1/3 always dark",
        metrics=("cell_occupancy_max",),
        apply=dead_cell,
    ),
    Distortion(
        name="shuffled phi",
        meaning="cells along phi in random order",
        metrics=("separation_width_*", "w1_width_*"),
        apply=shuffled_phi,
    ),
    Distortion(
        name="sparsity",
        meaning="1/5 of the voxels below 1 MeV dark",
        metrics=("separation_sparsity*", "w1_sparsity*"),
        apply=sparsity,
    ),
    Distortion(
        name="mode drop",
        meaning="the 5 % latest showers missing",
        metrics=("separation_depth", "w1_depth", "separation_layer_fraction_*"),
        apply=mode_drop,
    ),
)
"""All mistakes that the validation must notice."""


def _with(showers: Showers, voxels: NDArray[np.floating]) -> Showers:
    return dataclasses.replace(showers, voxels_mev=np.ascontiguousarray(voxels, np.float32))
