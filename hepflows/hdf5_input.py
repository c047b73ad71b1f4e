"""HDF5 files of unknown origin: only what lies in the file itself, and no more than it can hold.

HDF5 can point elsewhere: links to other files, data sets whose bytes lie in another file or are put together from
several. A file from elsewhere could so make its reader open any file of the user's. Only plain data sets are read.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from hepflows.errors import DataError
from hepflows.limits import MAX_TEXT_BYTES, require_plausible
from hepflows.reading import reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def open_hdf5_input(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: it is none, or damaged.
    """
    import h5py

    if not h5py.is_hdf5(path):
        raise DataError("not an HDF5 file", where=path, remedy="check the file, or name its format")
    with contextlib.ExitStack() as stack:
        with reading(path, "HDF5 structure"):
            file = stack.enter_context(h5py.File(path, "r"))
        yield file


def members(group: Any, kind: str, path: Path) -> dict[str, Any]:
    """Data sets or groups in a group by name, all of them in this file.

    Args:
        group: an open file or group.
        kind: ``Dataset`` or ``Group``.
        path: the file.

    Raises:
        DataError: a member is a link, lies outside the file, or declares more than the file can hold; or it is damaged.
    """
    import h5py

    found = {}
    with reading(path, "HDF5 structure"):
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _elsewhere(f"{path}: {name}", "a link")
            item = group[name]
            if isinstance(item, getattr(h5py, kind)):
                found[str(name)] = item
    if kind == "Dataset":
        for name, item in found.items():
            _check(item, path, f"{path}: {name}")
    return found


def text_of(data: Any, path: Path, name: str) -> str:
    """A data set that is one text.

    Raises:
        DataError: it is not, or it is damaged.
    """
    with reading(path, name):
        if data.shape != () or data.id.get_storage_size() > MAX_TEXT_BYTES:
            raise DataError("not a single text", where=f"{path}: {name}", found=f"shape {data.shape}")
        value = data[()]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _check(data: Any, path: Path, where: str) -> None:
    with reading(path, where.removeprefix(f"{path}: ")):
        if data.is_virtual or data.external:
            raise _elsewhere(where, "a virtual data set" if data.is_virtual else "external storage")
        shape, chunks, width = data.shape or (), data.chunks or (), data.dtype.itemsize
    require_plausible(width * math.prod(shape), path, where=where)
    require_plausible(width * math.prod(chunks), path, where=where)


def _elsewhere(where: str, found: str) -> DataError:
    return DataError(
        "the data lie outside of this file or place",
        where=where,
        expected="plain data sets",
        found=found,
        remedy="copy it into a file of its own: h5repack, or h5py's copy with expand_external and expand_soft",
    )
