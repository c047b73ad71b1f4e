"""What every file format is turned into before showers are selected from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from calofast.geometry import Geometry
from hepflows.errors import DataError
from hepflows.plain_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from calofast.showers import Showers

FileFormat = Literal["calogan", "calochallenge", "root-cells", "root-hits", "parquet"]
METADATA = "hepflows"  # name of the HDF5 data set, ROOT object or Parquet entry holding the JSON below
SCHEMA = "hepflows-showers/1"

Block = tuple["NDArray[np.float32]", "NDArray[np.float32] | None"]


@dataclass(frozen=True, kw_only=True)
class ShowerFile:
    """An open file of n showers; scalars are in memory, voxels are read in blocks.

    Attributes:
        path: the file.
        format: its layout.
        geometry: layers and voxel order.
        energy_unit: unit of `incident_energy` as the layout or the file states it.
        deposit_unit: unit of what `read_block` returns, likewise.
        incident_energy: shape (n,), in `energy_unit`.
        has_overflow: whether `read_block` returns overflow.
        read_block: from first entry and the one after the last to voxels (m, V) and overflow (m, L) or None.
        pdg: code of each entry, shape (n,), or None if the file does not tell.
        conditions: further scalars, each of shape (n,).
        condition_units: their units.
        weights: shape (n,), or None.
        provenance: what the file says about its origin.
    """

    path: Path
    format: FileFormat
    geometry: Geometry
    energy_unit: str
    deposit_unit: str
    incident_energy: NDArray[np.float64]
    has_overflow: bool
    read_block: Callable[[int, int], Block]
    pdg: NDArray[np.int64] | None = None
    conditions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    condition_units: Mapping[str, str] = field(default_factory=dict)
    weights: NDArray[np.float32] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What this package stores beside the arrays, so that a reader restores everything."""

    geometry: Geometry
    pdg: int | None
    condition_units: Mapping[str, str]
    provenance: Mapping[str, str]

    @staticmethod
    def of(showers: Showers) -> Metadata:
        """Metadata of showers about to be written."""
        return Metadata(
            geometry=showers.geometry,
            pdg=showers.pdg,
            condition_units=showers.condition_units,
            provenance=showers.provenance,
        )

    def to_json(self) -> str:
        """JSON text, the inverse of `from_json`."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "geometry": self.geometry.to_dict(),
                "pdg": self.pdg,
                "condition_units": dict(self.condition_units),
                # readers tell the file's own name
                "provenance": {key: text for key, text in self.provenance.items() if key != "file"},
            }
        )

    @staticmethod
    def from_json(text: str, *, path: Path) -> Metadata:
        """Parse what `to_json` wrote.

        Raises:
            DataError: the text is damaged or of another schema.
            GeometryError: its geometry is damaged.
        """
        where = f"{path}: {METADATA}"
        try:
            document = parse_json(text)
            schema, pdg = document["schema"], document["pdg"]
            units, provenance = (
                {str(key): str(value) for key, value in document[name].items()}
                for name in ("condition_units", "provenance")
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError("the stored description is damaged", where=where, found=str(error)) from None
        if schema != SCHEMA:
            raise DataError("written by another version", where=where, expected=SCHEMA, found=schema)
        geometry = Geometry.from_dict(document.get("geometry"), where=f"{where}.geometry")
        return Metadata(
            geometry=geometry,
            pdg=None if pdg is None else int(pdg),
            condition_units=units,
            provenance=provenance,
        )


def standard_geometry(n_values: int) -> tuple[Geometry, bool] | None:
    """Known geometry with `n_values` voxels, or voxels and overflow; and whether overflow is among them."""
    from calofast.geometry import calochallenge, calogan

    known = [calogan(), *(calochallenge(name) for name in ("photons", "pions", "dataset_2", "dataset_3"))]
    for geometry in known:
        if n_values in (geometry.n_voxels, geometry.n_voxels + geometry.n_layers):
            return geometry, n_values > geometry.n_voxels
    return None
