"""Readers of the two HDF5 layouts: CaloGAN (arXiv 1712.10321) and CaloChallenge (arXiv 2410.21611).

CaloGAN: ``energy`` (N, 1) in GeV, ``layer_<i>`` (N, nx, ny) and, if known, ``overflow`` (N, L) in MeV.
CaloChallenge: ``incident_energies`` (N, 1) and ``showers`` (N, V), both in MeV.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from calofast.conditions import WEIGHT_NAMES, particle_codes, read_conditions
from calofast.geometry import Geometry, calogan, calogan_hits
from calofast.hdf5_content import Hdf5Content, stored_metadata
from calofast.particles import pdg_code
from calofast.shower_file import (
    METADATA,
    Block,
    ShowerFile,
    standard_geometry,
)
from hepflows.errors import DataError, GeometryError
from hepflows.hdf5_input import members, open_hdf5_input
from hepflows.reading import reading, require_shape
from hepflows.remedies import option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_OWN = {"energy", "incident_energies", "showers", "overflow", "pdg", METADATA, *WEIGHT_NAMES}


@contextlib.contextmanager
def open_hdf5(
    path: Path,
    *,
    format: str | None = None,  # noqa: A002 - the word every user of file libraries knows
    geometry: Geometry | None = None,
    conditions: Sequence[str] | None = None,
) -> Iterator[ShowerFile]:
    """Open an HDF5 file of showers.

    Args:
        path: an existing file.
        format: ``calogan`` or ``calochallenge``, None to tell by the data sets' names.
        geometry: the geometry to use; None takes the stored one or the standard one of these shapes.
        conditions: scalars to take as conditions, None for those known by name.

    Raises:
        DataError: not HDF5, damaged, a data set is missing or has a wrong shape, no entries.
        GeometryError: the geometry does not match the data, or cannot be told.
    """
    with open_hdf5_input(path) as file:
        data_sets = members(file, "Dataset", path)
        shapes = {name: item.shape for name, item in data_sets.items() if item.shape is not None}
        metadata = stored_metadata(data_sets, path)
        layout = format or _detect(shapes, path)
        content = Hdf5Content(
            file=file, path=path, shapes=shapes, metadata=metadata, geometry=geometry, conditions=conditions
        )
        yield _calogan(content) if layout == "calogan" else _calochallenge(content)


def _detect(shapes: dict[str, tuple[int, ...]], path: Path) -> str:
    if "showers" in shapes or "incident_energies" in shapes:
        return "calochallenge"
    if "layer_0" in shapes or "energy" in shapes:
        return "calogan"
    raise DataError(
        "neither the CaloGAN nor the CaloChallenge layout",
        where=path,
        expected="data sets energy, layer_0, layer_1 ... or incident_energies, showers",
        found=", ".join(sorted(shapes)) or "no data sets",
        remedy="convert the file to one of these layouts",
    )


def _calogan(content: Hdf5Content) -> ShowerFile:
    path, shapes, metadata, geometry = content.path, content.shapes, content.metadata, content.geometry
    content.require("energy", "layer_0")
    layers = {name: shape[1:] for name, shape in shapes.items() if name.startswith("layer_")}
    if geometry is None:
        geometry = metadata.geometry if metadata else _guess_calogan(layers, path)
    names = tuple(f"layer_{i}" for i in range(geometry.n_layers))
    if not _part_of(layers, geometry):
        raise GeometryError(
            "the geometry does not match the data",
            where=path,
            expected=f"{geometry.name}: {', '.join(_text(layer.shape) for layer in geometry.layers)}",
            found=", ".join(f"{name} {_text(shape)}" for name, shape in sorted(layers.items())),
            remedy=f"name the geometry the file was made with: {option('geometry=...')}",
        )
    content.require(*names)
    n = content.count("energy")
    for name, layer in zip(names, geometry.layers, strict=True):
        require_shape(shapes[name], (n, *layer.shape), where=f"{path}: {name}")
    slices = geometry.layer_slices

    def voxels(start: int, stop: int) -> NDArray[np.float32]:
        block = np.empty((stop - start, geometry.n_voxels), dtype=np.float32)
        for name, part in zip(names, slices, strict=True):
            block[:, part] = content.rows(name, start, stop).reshape(stop - start, -1)
        return block

    return _shower_file(
        content,
        geometry,
        energy="energy",
        n=n,
        deposits="layer_0",
        voxels=voxels,
    )


def _calochallenge(content: Hdf5Content) -> ShowerFile:
    path, shapes, metadata, geometry = content.path, content.shapes, content.metadata, content.geometry
    content.require("incident_energies", "showers")
    n = content.count("incident_energies")
    require_shape(shapes["showers"], (n, None), where=f"{path}: showers")
    n_voxels = shapes["showers"][1]
    if geometry is None and metadata is not None:
        geometry = metadata.geometry
    if geometry is None:
        standard = standard_geometry(n_voxels)
        if standard is None or standard[1]:
            raise GeometryError(
                "no standard geometry has this number of voxels",
                where=f"{path}: showers",
                expected="368, 533, 6480 or 40500",
                found=n_voxels,
                remedy=f"pass {option('binning_xml=FILE')}, or a geometry",
            )
        geometry = standard[0]
    if geometry.n_voxels != n_voxels:
        raise GeometryError(
            "the geometry does not match the data",
            where=f"{path}: showers",
            expected=f"{geometry.n_voxels} voxels of {geometry.name}",
            found=n_voxels,
            remedy=f"pass the binning file of this data set: {option('binning_xml=FILE')}",
        )

    def voxels(start: int, stop: int) -> NDArray[np.float32]:
        return content.rows("showers", start, stop)

    return _shower_file(
        content,
        geometry,
        energy="incident_energies",
        n=n,
        deposits="showers",
        voxels=voxels,
    )


def _shower_file(
    content: Hdf5Content,
    geometry: Geometry,
    *,
    energy: str,
    n: int,
    deposits: str,
    voxels: Callable[[int, int], NDArray[np.float32]],
) -> ShowerFile:
    """What both layouts share: overflow, scalars, attributes."""
    path, shapes, metadata = content.path, content.shapes, content.metadata
    has_overflow = "overflow" in shapes
    if has_overflow:
        require_shape(shapes["overflow"], (n, geometry.n_layers), where=f"{path}: overflow")

    def read_block(start: int, stop: int) -> Block:
        return voxels(start, stop), content.rows("overflow", start, stop) if has_overflow else None

    with reading(path, "attributes"):
        attributes, stated = content.attributes(), content.stated_units()
    conditions, units = read_conditions(
        (
            name
            for name, shape in shapes.items()
            if name not in _OWN and not name.startswith("layer_") and shape in ((n,), (n, 1))
        ),
        content.scalar,
        stated=stated,
        requested=content.conditions,
        stored=metadata.condition_units if metadata else (),
        has_pdg="pdg" in shapes,
        where=str(path),
    )
    weights = next((content.scalar(name, n) for name in WEIGHT_NAMES if name in shapes), None)
    particle = attributes.get("pdg") or attributes.get("particle") or geometry.particle
    code = metadata.pdg if metadata else pdg_code(particle)
    pdg = None if code is None else np.full(n, code, dtype=np.int64)
    if "pdg" in shapes:
        pdg = particle_codes(content.scalar("pdg", n), where=f"{path}: pdg")
    whole_file = "MeV" if energy == "incident_energies" else "GeV"
    return ShowerFile(
        path=path,
        format="calogan" if energy == "energy" else "calochallenge",
        geometry=geometry,
        energy_unit=stated[energy] or attributes.get("energy_unit") or whole_file,
        deposit_unit=stated[deposits] or attributes.get("cell_unit") or "MeV",
        incident_energy=content.scalar(energy),
        has_overflow=has_overflow,
        read_block=read_block,
        pdg=pdg,
        conditions=conditions,
        condition_units=units,
        weights=None if weights is None else weights.astype(np.float32),
        provenance=metadata.provenance if metadata else attributes,
    )


def _guess_calogan(layers: dict[str, tuple[int, ...]], path: Path) -> Geometry:
    for geometry in (calogan(), calogan_hits()):
        if _part_of(layers, geometry):
            return geometry
    raise GeometryError(
        "not the layers of the CaloGAN detector",
        where=path,
        expected=", ".join(f"layer_{i} {_text(layer.shape)}" for i, layer in enumerate(calogan().layers)),
        found=", ".join(f"{name} {_text(shape)}" for name, shape in sorted(layers.items())),
        remedy="for another detector, pass its geometry to calofast.read_showers",
    )


def _part_of(layers: dict[str, tuple[int, ...]], geometry: Geometry) -> bool:
    """Whether these are layers of `geometry`, if not all: a missing one gets its own message."""
    return layers.items() <= {f"layer_{i}": layer.shape for i, layer in enumerate(geometry.layers)}.items()


def _text(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(("N", *map(str, shape))) + ")"
