"""Reading blocks of jagged hits from a ROOT tree and voxelising them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from calofast.voxelise import Hits, voxelise
from hepflows.errors import DataError, GeometryError
from hepflows.reading import reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from calofast.shower_file import Block

_PIXEL_MM = 10.0
_MAX_OVERFLOW = 0.5


def hit_reader(
    tree: Any, geometry: Geometry, *, label: str, path: Path, is_default: bool
) -> Callable[[int, int], Block]:
    """Function that reads entries of `tree` and returns voxels and overflow in `geometry`.

    Args:
        tree: the uproot tree.
        geometry: where the hits go.
        label: file and tree, for messages.
        path: the file.
        is_default: whether `geometry` was chosen for want of another one; then hits that are not in the
            middle of its detector's pixels are refused.
    """
    present = set(tree.keys())
    names = [name for name in ("hit_x", "hit_y", "hit_z", "hit_energy", "hit_layer") if name in present]

    def read_block(start: int, stop: int) -> Block:
        with reading(path, f"{label}, entries {start} to {stop}"):
            arrays = tree.arrays(names, entry_start=start, entry_stop=stop, library="ak")
        hits = _flatten(arrays, names, label, start)
        if is_default:
            _require_pixels(hits, geometry, label)
        try:
            voxels, overflow = voxelise(hits, geometry)
        except DataError as error:
            entry, _, rest = (error.where or "").removeprefix("entry ").partition(", ")
            if not entry.isdecimal():
                raise
            raise DataError(
                error.what,
                where=f"{label}: entry {start + int(entry)}, {rest}",
                found=error.found,
                remedy=error.remedy,
            ) from None
        inside, outside = float(voxels.sum(dtype=np.float64)), float(overflow.sum(dtype=np.float64))
        if outside > _MAX_OVERFLOW * (inside + outside):
            raise GeometryError(
                "the geometry does not match the hits: most of the energy lies outside of its cells",
                where=f"{label}, entries {start} to {stop}",
                expected=f"at most {_MAX_OVERFLOW:.0%} outside of {geometry.name}",
                found=f"{outside / (inside + outside):.1%}",
                remedy="pass the geometry of this detector, in mm, to calofast.read_showers",
            )
        return voxels, overflow

    return read_block


def _flatten(arrays: Any, names: list[str], label: str, start: int) -> Hits:
    columns: dict[str, NDArray[np.generic]] = {}
    counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    for name in names:
        column = arrays[name]
        if column.ndim != 2:
            raise DataError(
                "wrong shape",
                where=f"{label}/{name}",
                expected="a list of numbers per entry",
                found=str(column.type),
            )
        these = ak.to_numpy(ak.num(column))
        if columns and np.any(these != counts):
            entry = int(np.argmax(these != counts))
            raise DataError(
                "different numbers of hits in one entry",
                where=f"{label}/{name}: entry {start + entry}",
                expected=f"{counts[entry]} as in {names[0]}",
                found=int(these[entry]),
            )
        counts = these
        columns[name] = ak.to_numpy(ak.flatten(column))
        if columns[name].dtype.kind not in "fiu":
            raise DataError("not a number", where=f"{label}/{name}", found=f"type {columns[name].dtype}")
    hits = Hits(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        x_mm=columns["hit_x"].astype(np.float64),
        y_mm=columns["hit_y"].astype(np.float64),
        energy=columns["hit_energy"].astype(np.float64),
    )
    if "hit_layer" in columns:
        hits = replace(hits, layer=columns["hit_layer"].astype(np.int64))
    return replace(hits, z_mm=columns["hit_z"].astype(np.float64)) if "hit_z" in columns else hits


def _require_pixels(hits: Hits, geometry: Geometry, label: str) -> None:
    """Refuse hits that cannot come from the detector of `calogan_hits`."""
    fits = all(
        np.allclose(np.mod(values, _PIXEL_MM), 0.5 * _PIXEL_MM, atol=0.01)
        for values in (hits.x_mm, hits.y_mm)
        if np.isfinite(values).all()  # else refused by the voxeliser, with the entry
    )
    faces = [layer.z_mm for layer in geometry.layers if layer.z_mm is not None]
    if hits.z_mm is not None and hits.z_mm.size and np.isfinite(hits.z_mm).all():
        fits &= bool(hits.z_mm.min() >= faces[0][0] and hits.z_mm.max() <= faces[-1][1])
    if not fits:
        raise GeometryError(
            "the hits are not those of the toy calorimeter that is assumed without a geometry",
            where=label,
            expected="pixels of 10 mm with their centres at 5 mm mod 10 mm, z in [-240, 240] mm",
            remedy="pass the geometry of this detector to calofast.read_showers",
        )
