"""Reader of Parquet files of showers; see `calofast.write_parquet` for the columns.

It needs pyarrow, which the extra ``parquet`` brings.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from calofast.conditions import WEIGHT_NAMES, particle_codes, read_conditions
from calofast.shower_file import METADATA, Block, Metadata, ShowerFile, standard_geometry
from hepflows.errors import DataError, GeometryError
from hepflows.parquet import pyarrow_parquet
from hepflows.reading import reading, require_numbers, require_shape
from hepflows.remedies import option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from calofast.geometry import Geometry

_OWN = ("incident_energy", "voxels", "overflow", "pdg", *WEIGHT_NAMES)


@contextlib.contextmanager
def open_parquet(
    path: Path, *, geometry: Geometry | None = None, conditions: Sequence[str] | None = None
) -> Iterator[ShowerFile]:
    """Open a Parquet file of showers.

    Args:
        path: an existing file.
        geometry: the geometry to use; None takes the stored one, or the standard one with this number of voxels.
        conditions: columns to take as conditions, None for those known by name.

    Raises:
        DataError: not Parquet, damaged, a column is missing or has a wrong shape, no entries.
        GeometryError: the geometry does not match the data, or cannot be told.
        MissingDependencyError: pyarrow is not installed.
    """
    parquet = pyarrow_parquet()
    with contextlib.ExitStack() as stack:
        with reading(path, "Parquet structure"):
            table = _Table(stack.enter_context(parquet.ParquetFile(path)), path)
            text = (table.file.schema_arrow.metadata or {}).get(METADATA.encode())
        metadata = None if text is None else Metadata.from_json(text.decode(errors="replace"), path=path)
        yield _shower_file(table, metadata, geometry, conditions)


class _Table:
    """An open file with its place, for messages."""

    def __init__(self, file: Any, path: Path) -> None:
        self.file, self.path = file, path
        self.names = tuple(map(str, file.schema_arrow.names))
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        self.n = int(self.starts[-1])

    def require(self, *names: str) -> None:
        for name in names:
            if name not in self.names:
                raise DataError(
                    f"column {name!r} is missing",
                    where=self.path,
                    expected=", ".join(names),
                    found=", ".join(self.names[:20]) or "no columns",
                    remedy="write the file again with this column",
                )
        if self.n == 0:
            raise DataError("the file holds no showers", where=self.path, remedy="check how it was made")

    def is_scalar(self, name: str) -> bool:
        import pyarrow as pa

        kind = self.file.schema_arrow.field(name).type
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    def scalar(self, name: str) -> NDArray[np.float64]:
        with reading(self.path, name):
            values = np.asarray(self.file.read([name])[name].to_numpy())
        return require_numbers(values, where=f"{self.path}: {name}")

    def width(self, name: str) -> int:
        """Length of the lists of a column."""
        size: int | None = getattr(self.file.schema_arrow.field(name).type, "list_size", None)
        if size is None:
            kind = self.file.schema_arrow.field(name).type
            raise DataError(
                "wrong type", where=f"{self.path}: {name}", expected="lists of fixed length", found=str(kind)
            )
        return size

    def lists(self, names: Sequence[str], start: int, stop: int) -> dict[str, NDArray[np.float32]]:
        """Columns of lists for a range of entries, shape (stop - start, width); whole row groups are read."""
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        groups, offset = list(range(first, last)), start - int(self.starts[first])
        found: dict[str, NDArray[np.float32]] = {}
        with reading(self.path, f"entries {start} to {stop}"):
            table = self._read(groups, names)
            for name in names:
                column = table[name].slice(offset, stop - start).combine_chunks()
                if column.null_count:
                    raise DataError("missing values", where=f"{self.path}: {name}", found=column.null_count)
                found[name] = column.flatten().to_numpy(zero_copy_only=False)
        for name, values in found.items():
            numbers = values if values.dtype == np.float32 else require_numbers(values, where=f"{self.path}: {name}")
            with np.errstate(over="ignore"):  # becomes infinite, which is refused with its place
                found[name] = numbers.reshape(stop - start, self.width(name)).astype(np.float32, copy=False)
        return found

    def _read(self, groups: list[int], names: Sequence[str]) -> Any:
        try:
            return self.file.read_row_groups(groups, columns=list(names))
        except ValueError as error:  # so old versions of Arrow say that a list of fixed length is null
            if "Expected all lists to be of size" not in str(error):
                raise
            raise DataError(
                "missing values, or lists of other lengths",
                where=f"{self.path}: {', '.join(names)}",
                found=str(error),
                remedy="leave these showers out, or write them as zeros",
            ) from error


def _shower_file(
    table: _Table, metadata: Metadata | None, geometry: Geometry | None, requested: Sequence[str] | None
) -> ShowerFile:
    table.require("incident_energy", "voxels")
    n_voxels = table.width("voxels")
    geometry = geometry or (metadata.geometry if metadata else None) or _standard(n_voxels, table.path)
    if n_voxels != geometry.n_voxels:
        raise GeometryError(
            "the geometry does not match the data",
            where=f"{table.path}: voxels",
            expected=f"{geometry.n_voxels} voxels of {geometry.name}",
            found=n_voxels,
            remedy=f"name the geometry the file was made with: {option('geometry=...')}",
        )
    names = ["voxels"]
    if has_overflow := "overflow" in table.names:
        require_shape((table.n, table.width("overflow")), (table.n, geometry.n_layers), where=f"{table.path}: overflow")
        names.append("overflow")

    def read_block(start: int, stop: int) -> Block:
        block = table.lists(names, start, stop)
        return block["voxels"], block.get("overflow")

    stored = metadata.condition_units if metadata else {}
    conditions, units = read_conditions(
        (name for name in table.names if name not in _OWN and table.is_scalar(name)),
        table.scalar,
        stated=stored,
        requested=requested,
        stored=stored,
        has_pdg="pdg" in table.names,
        where=str(table.path),
    )
    pdg = None if metadata is None or metadata.pdg is None else np.full(table.n, metadata.pdg, dtype=np.int64)
    if "pdg" in table.names:
        pdg = particle_codes(table.scalar("pdg"), where=f"{table.path}: pdg")
    weights = next((table.scalar(name) for name in WEIGHT_NAMES if name in table.names), None)
    return ShowerFile(
        path=table.path,
        format="parquet",
        geometry=geometry,
        energy_unit="GeV",
        deposit_unit="MeV",
        incident_energy=table.scalar("incident_energy"),
        has_overflow=has_overflow,
        read_block=read_block,
        pdg=pdg,
        conditions=conditions,
        condition_units=units,
        weights=None if weights is None else weights.astype(np.float32),
        provenance=metadata.provenance if metadata else {},
    )


def _standard(n_voxels: int, path: Path) -> Geometry:
    standard = standard_geometry(n_voxels)
    if standard is None or standard[1]:
        raise GeometryError(
            "no standard geometry has so many voxels",
            where=f"{path}: voxels",
            expected="504 (CaloGAN), 368, 533, 6480 or 40500",
            found=n_voxels,
            remedy=f"pass {option('binning_xml=FILE')}, or a geometry",
        )
    return standard[0]
