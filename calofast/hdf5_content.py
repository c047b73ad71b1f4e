"""Data sets of an open HDF5 file, read with messages that name file and data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calofast.shower_file import METADATA, Metadata
from hepflows.errors import DataError
from hepflows.hdf5_input import text_of
from hepflows.reading import reading, require_numbers, require_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from calofast.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class Hdf5Content:
    """An open file, the shapes of its data sets, and what the caller asked for."""

    file: Any
    path: Path
    shapes: dict[str, tuple[int, ...]]
    metadata: Metadata | None
    geometry: Geometry | None
    conditions: Sequence[str] | None

    def require(self, *names: str) -> None:
        """Raise `DataError` naming the first of these data sets that is missing."""
        for name in names:
            if name not in self.shapes:
                raise DataError(
                    f"data set {name!r} is missing",
                    where=self.path,
                    expected=", ".join(names),
                    found=", ".join(sorted(self.shapes)),
                    remedy="add the data set, or name the right format",
                )

    def count(self, name: str) -> int:
        """Number of entries by a data set of shape (N,) or (N, 1), at least one."""
        shape, where = self.shapes[name], f"{self.path}: {name}"
        if len(shape) == 0 or shape not in ((shape[0],), (shape[0], 1)):
            raise DataError("wrong shape", where=where, expected="(N, 1)", found=shape)
        if shape[0] == 0:
            raise DataError("the file holds no showers", where=where, remedy="check how it was made")
        return int(shape[0])

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Entries of a data set in single precision."""
        with reading(self.path, f"{name}, entries {start} to {stop}"):
            values = self.file[name][start:stop]
        if values.dtype == np.float32:
            return np.asarray(values)
        with np.errstate(over="ignore"):  # becomes infinite, which is refused with its place
            return require_numbers(values, where=f"{self.path}: {name}").astype(np.float32)

    def scalar(self, name: str, n: int | None = None) -> NDArray[np.float64]:
        """A whole data set of shape (N,) or (N, 1) in double precision, shape (N,); any N if `n` is None."""
        where = f"{self.path}: {name}"
        with reading(self.path, name):
            values = np.asarray(self.file[name][...])
        require_shape(values.shape, (n, 1) if values.ndim == 2 else (n,), where=where)
        return require_numbers(values, where=where).reshape(-1)

    def attributes(self) -> dict[str, str]:
        """The file's attributes as texts."""
        return {key: _plain(value) for key, value in self.file.attrs.items()}

    def stated_units(self) -> dict[str, str | None]:
        """The attribute ``unit`` or ``units`` of each data set, None where there is none."""
        return {name: _unit_attribute(self.file[name]) for name in self.shapes}


def stored_metadata(data_sets: Mapping[str, Any], path: Path) -> Metadata | None:
    """What this package stored in an open file, by its data sets; None in a file of another program."""
    if METADATA not in data_sets:
        return None
    return Metadata.from_json(text_of(data_sets[METADATA], path, METADATA), path=path)


def _plain(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _unit_attribute(item: Any) -> str | None:
    for key in ("unit", "units"):
        if key in item.attrs:
            return _plain(item.attrs[key])
    return None
