"""Readers of ROOT trees through uproot: one branch a cell, or hits as jagged branches.

Flat cells: ``cell_0`` ... ``cell_<V-1>`` and, if known, one more a layer for the overflow, in MeV, or the
same values in one branch ``cells`` of fixed length; ``TotalEnergy``, the incident energy in GeV. Hits:
``hit_x``, ``hit_y``, ``hit_z`` in mm, ``hit_energy`` in MeV, perhaps ``hit_layer``, and ``incident_energy``
in GeV. Every other scalar branch may be a condition.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import uproot

from calofast.conditions import WEIGHT_NAMES, particle_codes, read_conditions
from calofast.geometry import Geometry, calogan_hits
from calofast.hit_blocks import hit_reader
from calofast.shower_file import (
    METADATA,
    Block,
    FileFormat,
    Metadata,
    ShowerFile,
    standard_geometry,
)
from hepflows.errors import DataError, GeometryError
from hepflows.limits import require_plausible
from hepflows.reading import reading, require_numbers, require_shape
from hepflows.remedies import option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_ENERGY = {"root-cells": "TotalEnergy", "root-hits": "incident_energy"}
_CELL = re.compile(r"cell_(\d+)")


@contextlib.contextmanager
def open_root(
    path: Path,
    *,
    format: str | None = None,  # noqa: A002 - the word every user of file libraries knows
    geometry: Geometry | None = None,
    tree: str | None = None,
    conditions: Sequence[str] | None = None,
) -> Iterator[ShowerFile]:
    """Open a ROOT file of showers.

    Args:
        path: an existing file.
        format: ``root-cells`` or ``root-hits``, None to tell by the branches.
        geometry: the geometry to use; None takes the stored one, the standard one with this number of cells,
            or `calogan_hits` for hits.
        tree: name of the tree; None takes the only one that has cells or hits.
        conditions: scalar branches to take as conditions, None for those known by name.

    Raises:
        DataError: not ROOT, damaged, no such tree, a branch is missing, no entries.
        GeometryError: the geometry does not match the data, or cannot be told.
    """
    with contextlib.ExitStack() as stack:
        with reading(path, "ROOT structure"):
            file = stack.enter_context(uproot.open(path))
            trees = [key for key, kind in file.classnames(cycle=False).items() if kind == "TTree"]
            branches = {key: list(file[key].keys()) for key in trees}
            text = str(file[METADATA]) if METADATA in file.keys(cycle=False) else None
        metadata = None if text is None else Metadata.from_json(text, path=path)
        key = _choose_tree(branches, tree, path)
        layout = format or _detect(branches[key])
        if layout is None:
            raise DataError(
                "neither cells nor hits in the tree",
                where=f"{path}: {key}",
                expected="branches cell_0 ..., TotalEnergy or hit_x, hit_y, hit_energy, incident_energy",
                found=", ".join(branches[key][:20]) or "no branches",
            )
        source = _Tree(file[key], path, key, metadata)
        yield (_cells(source, geometry, conditions) if layout == "root-cells" else _hits(source, geometry, conditions))


class _Tree:
    """A tree with its place, for messages."""

    def __init__(self, tree: Any, path: Path, key: str, metadata: Metadata | None) -> None:
        self.tree, self.path, self.key, self.metadata = tree, path, key, metadata
        with reading(path, key):
            self.n = int(tree.num_entries)
            self.names = tuple(map(str, tree.keys()))
        if self.n <= 0:
            raise DataError("the file holds no showers", where=f"{path}: {key}", remedy="check how it was made")
        require_plausible(4 * self.n, path, where=f"{path}: {key}, {self.n} entries")

    def where(self, branch: str) -> str:
        return f"{self.path}: {self.key}/{branch}"

    def require(self, *names: str) -> None:
        present = set(self.names)
        for name in names:
            if name not in present:
                found = [other for other in self.names if not _CELL.fullmatch(other)]
                cells = [other for other in names if _CELL.fullmatch(other)]
                others = [other for other in names if not _CELL.fullmatch(other)]
                raise DataError(
                    f"branch {name!r} is missing",
                    where=f"{self.path}: {self.key}",
                    expected=", ".join(([f"cell_0 ... {cells[-1]}"] if cells else []) + others),
                    found=", ".join(found) + (f" and {len(self.names) - len(found)} cells" if found else ""),
                    remedy="write the file again with this branch",
                )

    def scalar(self, name: str) -> NDArray[np.float64]:
        with reading(self.path, f"{self.key}/{name}"):
            values = np.asarray(self.tree[name].array(library="np"))
        require_shape(values.shape, (self.n,), where=self.where(name))
        return require_numbers(values, where=self.where(name))

    def cell_branches(self) -> list[str]:
        """Names of the branches that hold the cells, in order, after checking that none is missing."""
        if "cells" in self.names:
            names = ["cells"]
        else:
            numbers = [int(match[1]) for match in map(_CELL.fullmatch, self.names) if match]
            names = [f"cell_{i}" for i in range(max(numbers, default=0) + 1)]
        self.require(*names, "TotalEnergy")
        return names

    def array_length(self, name: str) -> int:
        """Length of a branch of arrays of fixed length."""
        interpretation = self.interpretation(name)
        shape = getattr(interpretation, "inner_shape", None)
        if shape is None or len(shape) != 1:
            raise DataError("wrong shape", where=self.where(name), expected="(N, V)", found=self.tree[name].typename)
        return int(shape[0])

    def interpretation(self, name: str) -> Any:
        """How uproot would read a branch."""
        with reading(self.path, f"{self.key}/{name}"):
            return self.tree[name].interpretation

    def is_scalar(self, name: str) -> bool:
        interpretation = self.interpretation(name)
        return isinstance(interpretation, uproot.AsDtype) and not interpretation.inner_shape


def _choose_tree(branches: dict[str, list[str]], wanted: str | None, path: Path) -> str:
    if wanted is not None:
        if wanted not in branches:
            raise DataError("no such tree", where=path, expected=", ".join(branches) or "no trees", found=wanted)
        return wanted
    candidates = [key for key, names in branches.items() if _detect(names)] or list(branches)
    if not candidates:
        raise DataError("no tree in the file", where=path, expected="a TTree of showers")
    if len(candidates) > 1:
        raise DataError(
            "several trees could be meant", where=path, found=", ".join(candidates), remedy=f"pass {option('tree=...')}"
        )
    return candidates[0]


def _detect(names: list[str]) -> FileFormat | None:
    if "cells" in names or any(_CELL.fullmatch(name) for name in names):
        return "root-cells"
    return "root-hits" if any(name.startswith("hit_") for name in names) else None


def _cells(source: _Tree, geometry: Geometry | None, conditions: Sequence[str] | None) -> ShowerFile:
    names = source.cell_branches()
    n_cells = source.array_length("cells") if names == ["cells"] else len(names)
    if geometry is None and source.metadata is not None:
        geometry = source.metadata.geometry
    if geometry is None:
        standard = standard_geometry(n_cells)
        if standard is None:
            raise GeometryError(
                "no standard geometry has this number of cells",
                where=f"{source.path}: {source.key}",
                expected="504 or 507 (CaloGAN), 368, 533, 6480, 40500, or one overflow a layer more",
                found=n_cells,
                remedy=f"pass {option('binning_xml=FILE')}, or a geometry",
            )
        geometry = standard[0]
    if n_cells not in (geometry.n_voxels, geometry.n_voxels + geometry.n_layers):
        raise GeometryError(
            "the geometry does not match the data",
            where=f"{source.path}: {source.key}",
            expected=f"{geometry.n_voxels} cells of {geometry.name}, or with {geometry.n_layers} of overflow",
            found=n_cells,
            remedy=f"name the geometry the file was made with: {option('geometry=...')}",
        )
    require_plausible(4 * source.n * n_cells, source.path, where=f"{source.path}: {source.key}")
    n_voxels, has_overflow = geometry.n_voxels, n_cells > geometry.n_voxels

    def read_block(start: int, stop: int) -> Block:
        with reading(source.path, f"{source.key}, entries {start} to {stop}"):
            columns = source.tree.arrays(names, entry_start=start, entry_stop=stop, library="np")
        cells = np.empty((stop - start, n_cells), dtype=np.float32)
        for name, target in zip(names, [cells] if names == ["cells"] else cells.T, strict=True):
            column = np.asarray(columns[name])
            require_shape(column.shape, target.shape, where=source.where(name))
            with np.errstate(over="ignore"):  # becomes infinite, which is refused with its place
                target[:] = column if column.dtype.kind == "f" else require_numbers(column, where=source.where(name))
        return cells[:, :n_voxels], cells[:, n_voxels:] if has_overflow else None

    return _shower_file(source, "root-cells", geometry, conditions, has_overflow=has_overflow, read_block=read_block)


def _hits(source: _Tree, geometry: Geometry | None, conditions: Sequence[str] | None) -> ShowerFile:
    source.require("hit_x", "hit_y", "hit_energy", "incident_energy")
    if "hit_layer" not in source.names:
        source.require("hit_z")
    read_block = hit_reader(
        source.tree,
        geometry or calogan_hits(),
        label=f"{source.path}: {source.key}",
        path=source.path,
        is_default=geometry is None,
    )
    return _shower_file(
        source, "root-hits", geometry or calogan_hits(), conditions, has_overflow=True, read_block=read_block
    )


def _shower_file(
    source: _Tree,
    layout: FileFormat,
    geometry: Geometry,
    requested: Sequence[str] | None,
    *,
    has_overflow: bool,
    read_block: Callable[[int, int], Block],
) -> ShowerFile:
    """What both layouts share: energy, particle, conditions, weights."""
    metadata, energy = source.metadata, _ENERGY[layout]
    stored = metadata.condition_units if metadata else {}
    own = (energy, "pdg", *WEIGHT_NAMES)
    conditions, units = read_conditions(
        (name for name in source.names if not _CELL.fullmatch(name) and name not in own and source.is_scalar(name)),
        source.scalar,
        stated=stored,
        requested=requested,
        stored=stored,
        has_pdg="pdg" in source.names,
        where=f"{source.path}: {source.key}",
    )
    weights = next((source.scalar(name) for name in WEIGHT_NAMES if name in source.names), None)
    pdg = None if metadata is None or metadata.pdg is None else np.full(source.n, metadata.pdg, dtype=np.int64)
    if "pdg" in source.names:
        pdg = particle_codes(source.scalar("pdg"), where=source.where("pdg"))
    return ShowerFile(
        path=source.path,
        format=layout,
        geometry=geometry,
        energy_unit="GeV",
        deposit_unit="MeV",
        incident_energy=source.scalar(energy),
        has_overflow=has_overflow,
        read_block=read_block,
        pdg=pdg,
        conditions=conditions,
        condition_units=units,
        weights=None if weights is None else weights.astype(np.float32),
        provenance=metadata.provenance if metadata else {"tree": source.key},
    )
