"""Layer energies, energy-weighted centres and widths of showers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calofast.layer import Layer
    from calofast.showers import Showers

_CHUNK_VALUES = 8_000_000  # voxels converted to double precision at once


@dataclass(frozen=True, kw_only=True)
class ShowerShapes:
    """Moments of N showers in L layers.

    Attributes:
        layer_energies_mev: (N, L).
        layer_fractions: E_layer / E_tot (N, L); NaN for a shower without energy.
        layer_sparsity: share of voxels with energy (N, L).
        sparsity: the same over all layers (N,).
        axes: per layer ``axis -> (centre, width)`` in mm, each (N,), NaN where the layer is empty. Axes are
            x, y, r of regular and eta, phi, r of cylindrical layers, as far as the layer has more than one
            cell in that direction (cylindrical: more than one angular bin).
    """

    layer_energies_mev: NDArray[np.float64]
    layer_fractions: NDArray[np.float64]
    layer_sparsity: NDArray[np.float64]
    sparsity: NDArray[np.float64]
    axes: tuple[dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]], ...]


def layer_label(layer: Layer) -> str:
    """Short name of a layer for observables: ``12`` for the layer called ``layer_12``."""
    return layer.name.removeprefix("layer_")


def layer_axes(layer: Layer) -> dict[str, NDArray[np.float64]]:
    """Positions of the voxels (V_layer,) in mm along the axes in which the layer has centre and width."""
    first, second = layer.shape
    if layer.kind == "cylindrical":
        return {"eta": layer.x_mm, "phi": layer.y_mm, "r": layer.r_mm} if first > 1 else {}
    axes = {}
    if first > 1:
        axes["x"] = layer.x_mm
    if second > 1:
        axes["y"] = layer.y_mm
    if axes:
        axes["r"] = layer.r_mm
    return axes


def shower_shapes(showers: Showers) -> ShowerShapes:
    """Moments of each shower: centre <x> = sum(E x) / sum(E), width sqrt(max(0, <x^2> - <x>^2))."""
    geometry = showers.geometry
    n, chunk = len(showers), max(1, _CHUNK_VALUES // max(1, geometry.n_voxels))
    positions = [layer_axes(layer) for layer in geometry.layers]
    weights = [_power_matrix(axes, size) for axes, size in zip(positions, geometry.layer_sizes, strict=True)]
    sums = [np.empty((n, matrix.shape[1])) for matrix in weights]
    lit = np.empty((n, geometry.n_layers))
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        for i, part in enumerate(geometry.layer_slices):
            voxels = showers.voxels_mev[rows, part]
            sums[i][rows] = voxels.astype(np.float64) @ weights[i]
            lit[rows, i] = np.count_nonzero(voxels, axis=1)
    energies = np.stack([s[:, 0] for s in sums], axis=1)
    return ShowerShapes(
        layer_energies_mev=energies,
        layer_fractions=_divide(energies, energies.sum(1)[:, None]),
        layer_sparsity=lit / np.array(geometry.layer_sizes),
        sparsity=lit.sum(1) / geometry.n_voxels,
        axes=tuple(_centres(axes, s) for axes, s in zip(positions, sums, strict=True)),
    )


def _power_matrix(axes: dict[str, NDArray[np.float64]], size: int) -> NDArray[np.float64]:
    """Columns 1, x, x^2 for every axis."""
    columns = [np.ones(size)]
    for position in axes.values():
        columns += [position, position**2]
    return np.stack(columns, axis=1)


def _centres(
    axes: dict[str, NDArray[np.float64]], sums: NDArray[np.float64]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    result = {}
    for k, axis in enumerate(axes):
        centre = _divide(sums[:, 1 + 2 * k], sums[:, 0])
        square = _divide(sums[:, 2 + 2 * k], sums[:, 0])
        result[axis] = centre, np.sqrt(np.maximum(square - centre**2, 0.0))
    return result


def _divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result
