"""From hits, energy deposits at points, to voxels.

A hit goes to the layer of its number, or else of its z, and to the cell of its (x, y) or (alpha, r).
Intervals are closed below and open above, the last one is closed on both sides, as in `numpy.histogram`. A
hit outside of its layer's cells, or of the calorimeter in z, counts as overflow of that layer or of the
nearest one before it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.errors import DataError, GeometryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from calofast.geometry import Geometry


_ROUNDING_MM = 1e-6  # of faces that were added up


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Hits of N showers, one shower after the other.

    Attributes:
        offsets: hits ``offsets[i]`` to ``offsets[i + 1]`` belong to shower i, shape (N + 1,).
        x_mm: positions, shape (H,).
        y_mm: likewise.
        z_mm: likewise, or None if `layer` is given.
        layer: number of the layer, shape (H,), or None to find it from `z_mm`.
        energy: shape (H,), any unit, not negative.
    """

    offsets: NDArray[np.int64]
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]
    energy: NDArray[np.float64]
    z_mm: NDArray[np.float64] | None = None
    layer: NDArray[np.int64] | None = None

    def entry_of(self, hit: int) -> tuple[int, int]:
        """Shower of a hit, and the hit's number in it."""
        entry = int(np.searchsorted(self.offsets, hit, side="right")) - 1
        return entry, hit - int(self.offsets[entry])


def voxelise(hits: Hits, geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sum hits into voxels.

    Args:
        hits: the hits of N showers.
        geometry: V voxels in L layers.

    Returns:
        Voxels (N, V) and overflow (N, L), summed in double precision, in the unit of the hits' energies.

    Raises:
        DataError: a position or energy is not finite, an energy is negative, a layer does not exist; the
            message names the entry within `hits` and the hit.
        GeometryError: neither layer numbers nor z faces tell the layers; or layers overlap.
    """
    _check(hits, geometry)
    if hits.layer is not None:
        in_z = np.ones(len(hits.energy), dtype=np.bool_)
        layer = hits.layer.astype(np.int64)
    else:
        layer, in_z = _layers_from_z(hits, geometry)
    edges = [layer_.edges for layer_ in geometry.layers]
    kernel = _compiled()
    voxels = np.zeros((len(hits.offsets) - 1, geometry.n_voxels), dtype=np.float32)
    overflow = np.zeros((len(hits.offsets) - 1, geometry.n_layers), dtype=np.float32)
    kernel(
        hits.offsets.astype(np.int64),
        hits.x_mm.astype(np.float64),
        hits.y_mm.astype(np.float64),
        hits.energy.astype(np.float64),
        layer,
        in_z,
        np.array([layer_.kind == "cylindrical" for layer_ in geometry.layers]),
        np.concatenate([first for first, _ in edges]),
        np.cumsum([0, *(len(first) for first, _ in edges)]),
        np.concatenate([second for _, second in edges]),
        np.cumsum([0, *(len(second) for _, second in edges)]),
        np.cumsum([0, *geometry.layer_sizes]),
        voxels,
        overflow,
    )
    return voxels, overflow


def _check(hits: Hits, geometry: Geometry) -> None:
    arrays = {"x": hits.x_mm, "y": hits.y_mm, "z": hits.z_mm, "energy": hits.energy}
    for name, values in arrays.items():
        if values is None or values.size == 0 or np.isfinite(values).all():
            continue
        _refuse(hits, f"hit_{name} is not finite", np.flatnonzero(~np.isfinite(values)), values)
    if hits.energy.size and hits.energy.min() < 0:
        _refuse(hits, "negative energy of a hit", np.flatnonzero(hits.energy < 0), hits.energy)
    if hits.layer is not None and hits.layer.size:
        wrong = np.flatnonzero((hits.layer < 0) | (hits.layer >= geometry.n_layers))
        if wrong.size:
            _refuse(hits, f"hit_layer is not in 0 ... {geometry.n_layers - 1}", wrong, hits.layer)


def _refuse(hits: Hits, what: str, bad: NDArray[np.int64], values: NDArray[Any]) -> None:
    entry, number = hits.entry_of(int(bad[0]))
    raise DataError(
        what,
        where=f"entry {entry}, hit {number}",
        found=f"{values[bad[0]]:g} ({len(bad)} such hit(s))",
        remedy="remove or repair these entries",
    )


def _layers_from_z(hits: Hits, geometry: Geometry) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    faces = [layer.z_mm for layer in geometry.layers if layer.z_mm is not None]
    if hits.z_mm is None or len(faces) < geometry.n_layers:
        raise GeometryError(
            "the layers of the hits cannot be told",
            where=geometry.name,
            expected="hit_layer, or z faces of every layer and hit_z",
            remedy="give the geometry's layers z_mm",
        )
    front, back = np.array(faces).T
    if np.any(np.diff(front) <= 0):
        raise GeometryError("layers are not ordered front to back", where=geometry.name, found=faces)
    overlapping = np.flatnonzero(front[1:] < back[:-1] - _ROUNDING_MM)
    if overlapping.size:
        first = int(overlapping[0])
        raise GeometryError(
            "layers overlap in z, so that a hit may belong to two",
            where=f"{geometry.name}: {geometry.layers[first].name}, {geometry.layers[first + 1].name}",
            found=f"{faces[first]} mm and {faces[first + 1]} mm",
            remedy="correct z_mm, or give hit_layer",
        )
    layer = np.clip(np.searchsorted(front, hits.z_mm, side="right") - 1, 0, geometry.n_layers - 1)
    return layer.astype(np.int64), (hits.z_mm >= front[layer]) & (hits.z_mm <= back[layer])


@functools.cache
def _compiled() -> Callable[..., None]:
    # numba takes a second to load and to compile: only who reads hits pays for it.
    import numba

    compiled: Callable[..., None] = numba.njit(nogil=True)(_sum_hits)
    return compiled


def _sum_hits(  # noqa: C901, PLR0912 - one loop over hits; numba passes arguments by position
    offsets: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    energy: NDArray[np.float64],
    layer: NDArray[np.int64],
    in_z: NDArray[np.bool_],
    cylindrical: NDArray[np.bool_],
    first_edges: NDArray[np.float64],
    first_starts: NDArray[np.int64],
    second_edges: NDArray[np.float64],
    second_starts: NDArray[np.int64],
    voxel_starts: NDArray[np.int64],
    voxels: NDArray[np.float32],
    overflow: NDArray[np.float32],
) -> None:
    n_layers = len(cylindrical)
    voxel_sum = np.zeros(voxels.shape[1])
    overflow_sum = np.zeros(n_layers)
    for entry in range(len(offsets) - 1):
        for v in range(len(voxel_sum)):
            voxel_sum[v] = 0.0
        for i in range(n_layers):
            overflow_sum[i] = 0.0
        for hit in range(offsets[entry], offsets[entry + 1]):
            i = layer[hit]
            if cylindrical[i]:
                first, second = math.atan2(y[hit], x[hit]), math.hypot(x[hit], y[hit])
            else:
                first, second = x[hit], y[hit]
            a0, a1 = first_starts[i], first_starts[i + 1] - 1
            b0, b1 = second_starts[i], second_starts[i + 1] - 1
            inside = first_edges[a0] <= first <= first_edges[a1] and second_edges[b0] <= second <= second_edges[b1]
            if not (in_z[hit] and inside):
                overflow_sum[i] += energy[hit]
                continue
            # Bisection by hand: numba takes seconds to compile numpy.searchsorted.
            a, end = a0, a1
            while end - a > 1:
                middle = (a + end) // 2
                if first_edges[middle] <= first:
                    a = middle
                else:
                    end = middle
            b, end = b0, b1
            while end - b > 1:
                middle = (b + end) // 2
                if second_edges[middle] <= second:
                    b = middle
                else:
                    end = middle
            voxel_sum[voxel_starts[i] + (a - a0) * (b1 - b0) + b - b0] += energy[hit]
        for v in range(len(voxel_sum)):
            voxels[entry, v] = voxel_sum[v]
        for i in range(n_layers):
            overflow[entry, i] = overflow_sum[i]
