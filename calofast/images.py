"""Pictures of showers: mean energy in the cells of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calofast.shower_shapes import layer_label
from hepflows.observable import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from calofast.layer import Layer
    from calofast.showers import Showers

_ROUND = 72  # least number of straight pieces by which a circle is drawn


def layer_images(showers: Showers) -> tuple[Image, ...]:
    """One `Image` a layer, front to back, with the mean energy per cell in MeV (weights respected)."""
    weights = None if showers.weights is None else showers.weights.astype(np.float64)
    mean = np.average(showers.voxels_mev, axis=0, weights=weights).astype(np.float64)
    return mean_images(showers.geometry, mean)


def mean_images(geometry: Geometry, mean_mev: NDArray[np.float64]) -> tuple[Image, ...]:
    """One `Image` a layer from the mean energy of each voxel (V,) in MeV."""
    return tuple(
        _image(layer, mean_mev[part].reshape(layer.shape))
        for layer, part in zip(geometry.layers, geometry.layer_slices, strict=True)
    )


def _image(layer: Layer, cells: NDArray[np.float64]) -> Image:
    first, second = layer.edges
    if layer.kind == "regular":
        x, y = np.meshgrid(first, second)
        values, labels = cells.T, ("x [mm]", "y [mm]")
    else:
        pieces = -(-_ROUND // layer.n_alpha)
        alpha = np.linspace(first[0], first[-1], layer.n_alpha * pieces + 1)
        x, y = np.outer(np.cos(alpha), second), np.outer(np.sin(alpha), second)
        values, labels = np.repeat(cells, pieces, axis=0), (r"$\eta$ [mm]", r"$\phi$ [mm]")
    return Image(
        name=layer.name,
        title=f"Layer {layer_label(layer)}",
        x_label=labels[0],
        y_label=labels[1],
        value_label="mean energy per cell [MeV]",
        x_corners=x,
        y_corners=y,
        values=values,
    )
