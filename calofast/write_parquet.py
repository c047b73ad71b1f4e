"""Writer of Parquet files of showers, chunk by chunk.

Columns: ``incident_energy`` (GeV), ``voxels`` and, if known, ``overflow`` (MeV), lists of fixed length; ``weights`` and
the conditions by name. The file's metadata hold under ``hepflows`` a JSON text with geometry, particle, units of the
conditions and provenance. pyarrow is needed, which the extra ``parquet`` brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from calofast.shower_file import METADATA, Metadata
from calofast.showers import Showers
from hepflows.blocks import in_blocks
from hepflows.errors import DataError
from hepflows.parquet import pyarrow_parquet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

_BLOCK = 4096
"""Showers of a row group."""
_RESERVED = {"incident_energy", "voxels", "overflow", "weights"}


def write_parquet(chunks: Iterable[Showers], path: Path) -> None:
    """Write showers.

    Raises:
        DataError: a condition has the name of another column.
        MissingDependencyError: pyarrow is not installed.
    """
    parquet = pyarrow_parquet()
    writer = None
    try:
        for chunk in in_blocks(chunks, _BLOCK, Showers.concatenate):
            table = _table(chunk)
            if writer is None:
                description = {METADATA.encode(): Metadata.of(chunk).to_json().encode()}
                writer = parquet.ParquetWriter(path, table.schema.with_metadata(description))
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _table(chunk: Showers) -> Any:
    import pyarrow as pa

    columns: dict[str, Any] = {
        "incident_energy": pa.array(chunk.incident_energy_gev),
        "voxels": _lists(chunk.voxels_mev),
    }
    if chunk.overflow_mev is not None:
        columns["overflow"] = _lists(chunk.overflow_mev)
    if chunk.weights is not None:
        columns["weights"] = pa.array(chunk.weights)
    for name, values in chunk.conditions.items():
        if name in _RESERVED:
            raise DataError("a condition has the name of another column", where=f"conditions[{name!r}]")
        columns[name] = pa.array(values)
    return pa.table(columns)


def _lists(values: NDArray[np.float32]) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])
