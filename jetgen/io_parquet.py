"""Reader of Parquet files of jets with lists of constituents; see `jetgen.jagged` for the columns.

It needs pyarrow, which the extra ``parquet`` brings.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from hepflows.errors import DataError
from hepflows.limits import require_plausible
from hepflows.parquet import pyarrow_parquet
from hepflows.reading import reading, require_numbers
from jetgen.jagged import jagged_file
from jetgen.jet_file import METADATA, Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from jetgen.jet_file import JetFile


@contextlib.contextmanager
def open_parquet(
    path: Path, *, branches: Mapping[str, str] | None = None, units: Mapping[str, str] | None = None
) -> Iterator[JetFile]:
    """Open a Parquet file of jets; the arguments and errors are those of `jetgen.io_root.open_root`.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    parquet = pyarrow_parquet()
    with contextlib.ExitStack() as stack:
        with reading(path, "Parquet structure"):
            file = stack.enter_context(parquet.ParquetFile(path))
            text = (file.schema_arrow.metadata or {}).get(METADATA.encode())
        metadata = None if text is None else Metadata.from_json(text.decode(errors="replace"), path=path)
        yield jagged_file(_Table(file, path), "parquet", metadata=metadata, branches=branches, units=units)


class _Table:
    """A Parquet file as a `jetgen.jagged.Source`."""

    def __init__(self, file: Any, path: Path) -> None:
        self.file, self.path, self.label = file, path, f"{path}: columns"
        self.names = tuple(map(str, file.schema_arrow.names))
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        self.n = int(self.starts[-1])
        if self.n <= 0:
            raise DataError("the file holds no jets", where=path, remedy="check how it was made")
        require_plausible(4 * self.n, path, where=f"{self.label}, {self.n} entries")

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of numbers, shape (n,)."""
        with reading(self.path, name):
            values = self.file.read([name])[name].to_numpy()
        return require_numbers(np.asarray(values), where=f"{self.path}: {name}")

    def lists(self, names: tuple[str, ...], start: int, stop: int) -> Mapping[str, ak.Array]:
        """Columns of lists for a range of entries; whole row groups are read."""
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        offset = int(self.starts[first])
        with reading(self.path, f"entries {start} to {stop}"):
            table = self.file.read_row_groups(list(range(first, last)), columns=list(names))
        rows = slice(start - offset, stop - offset)
        return {name: _lists(table[name], where=f"{self.label}/{name}")[rows] for name in names}


def _lists(column: Any, *, where: str) -> ak.Array:
    """A column of lists in double precision; `ak.from_arrow` needs pandas with some versions of the libraries.

    Raises:
        DataError: other things than lists of numbers, or missing ones.
    """
    import pyarrow as pa

    kinds, found = pa.types, column.type
    is_list = kinds.is_list(found) or kinds.is_large_list(found) or kinds.is_fixed_size_list(found)
    if not (is_list and (kinds.is_integer(found.value_type) or kinds.is_floating(found.value_type))):
        raise DataError(
            "not lists of numbers", where=where, expected="one list of numbers for each jet", found=str(found)
        )
    array = column.cast(pa.large_list(pa.float64())).combine_chunks()
    offsets = np.asarray(array.offsets)
    values = array.values[int(offsets[0]) : int(offsets[-1])]
    if array.null_count or values.null_count:
        raise DataError("missing values", where=where, expected="one list of numbers for each jet", found="nulls")
    return ak.unflatten(ak.Array(values.to_numpy(zero_copy_only=False)), np.diff(offsets))
