"""Tables of observables in HDF5 and Parquet.

HDF5: attribute ``schema`` = ``hepflows-features/1``; groups ``features``, ``conditions`` and ``more`` with one data set
(N,) a column, each with the attributes ``unit`` and ``log``; of weighted events also the group ``weights`` with one
data set of that name. Parquet: one flat column of numbers each; the entry
``hepflows-features/1`` of the file's metadata says in JSON which is which. A Parquet file without that entry is taken
as well: all its columns of numbers are observables, except those that are chosen as conditions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hepflows.errors import DataError, MissingDependencyError, OutputError
from hepflows.feature_table import Column, FeatureTable, pick
from hepflows.files import atomic_file, require_file
from hepflows.hdf5_input import members, open_hdf5_input
from hepflows.plain_text import parse_json
from hepflows.reading import reading, require_numbers, require_shape

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SCHEMA: Final = "hepflows-features/1"
_HDF5: Final = (".h5", ".hdf5")
_WEIGHTS: Final = "weights"
_ROLES: Final = ("features", "conditions", "more", _WEIGHTS)
_Roles = dict[str, dict[str, tuple[Column, "NDArray[np.float64]"]]]


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is a table of observables."""
    path = Path(path)
    try:
        if path.suffix in _HDF5:
            import h5py

            with h5py.File(path) as file:
                return bool(file.attrs.get("schema") == SCHEMA)
        if path.suffix == ".parquet":
            return SCHEMA.encode() in (_pyarrow().parquet.read_schema(path).metadata or {})
    except Exception:  # noqa: BLE001 - whatever a foreign or damaged file makes the libraries raise
        return False
    return False


def read_table(
    path: str | os.PathLike[str], *, observables: Sequence[str] | None = None, conditions: Sequence[str] | None = None
) -> FeatureTable:
    """Read a table.

    Args:
        path: HDF5 or Parquet file.
        observables: names of the columns to take as observables; by default those that the file calls so.
        conditions: names of the columns to take as conditions; by default those that the file calls so.

    Raises:
        DataError: the file is missing, damaged, no table, or has no events.
        ConfigError: a column is unknown.
    """
    file = require_file(path)
    with reading(file, "table of observables"):
        roles = _read_hdf5(file) if file.suffix in _HDF5 else _read_parquet(file)
    every = {name: entry for role in _ROLES for name, entry in roles[role].items()}
    wanted = tuple(roles["conditions"]) if conditions is None else tuple(conditions)
    if observables is None:
        observables = [name for name in roles["features"] if name not in wanted]
    taken = pick(every, observables, what="observable", where=file)
    given = pick(every, wanted, what="condition", where=file)
    n = len(next(iter(every.values()))[1]) if every else 0
    if n == 0:
        raise DataError("the table has no events", where=file)
    return FeatureTable(
        features=tuple(column for column, _ in taken),
        values=_stacked(taken, n),
        conditions=tuple(column for column, _ in given),
        condition_values=_stacked(given, n),
        provenance={"file": str(file)},
        more={name: roles["more"][name][1] for name in roles["more"] if name not in (*observables, *wanted)},
        weights=roles[_WEIGHTS][_WEIGHTS][1] if _WEIGHTS in roles[_WEIGHTS] else None,
    )


def write_table(table: FeatureTable, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a table; the suffix, ``.h5``, ``.hdf5`` or ``.parquet``, names the format.

    Raises:
        OutputError: another suffix, the file exists and `force` is false, or it cannot be written.
        MissingDependencyError: Parquet without pyarrow.
    """
    path = check_suffix(path)
    with atomic_file(path, force=force) as temporary:
        (_write_hdf5 if path.suffix in _HDF5 else _write_parquet)(table, temporary)
    return path


def check_suffix(path: str | os.PathLike[str]) -> Path:
    """The path, if a table can be written in the format that its suffix names.

    Raises:
        OutputError: another suffix.
        MissingDependencyError: Parquet without pyarrow.
    """
    path = Path(path)
    if path.suffix not in (*_HDF5, ".parquet"):
        raise OutputError(
            "a table of observables cannot be written in this format",
            where=path,
            expected="a name that ends in .h5, .hdf5 or .parquet",
        )
    if path.suffix == ".parquet":
        _pyarrow()
    return path


def _stacked(entries: Sequence[tuple[Column, NDArray[np.float64]]], n: int) -> NDArray[np.float64]:
    return np.stack([values for _, values in entries], axis=1) if entries else np.empty((n, 0))


def _columns(table: FeatureTable) -> Mapping[str, list[tuple[Column, NDArray[Any]]]]:
    return {
        "features": [(column, table.values[:, k]) for k, column in enumerate(table.features)],
        "conditions": [(column, table.condition_values[:, k]) for k, column in enumerate(table.conditions)],
        "more": [(Column(name=name), values) for name, values in table.more.items()],
        _WEIGHTS: [] if table.weights is None else [(Column(name=_WEIGHTS), table.weights)],
    }


def _read_hdf5(path: Path) -> _Roles:
    roles: _Roles = {role: {} for role in _ROLES}
    with open_hdf5_input(path) as file:
        if file.attrs.get("schema") != SCHEMA:
            raise DataError(
                "not a table of observables",
                where=path,
                expected=f"an HDF5 file with the attribute schema = {SCHEMA}",
                found=f"schema {file.attrs.get('schema')!r}",
                remedy="write it with `hepflows morph apply`, or use Parquet with one column an observable",
            )
        n: int | None = None
        groups = members(file, "Group", path)
        for role in _ROLES:
            for name, data in members(groups[role], "Dataset", path).items() if role in groups else ():
                where = f"{path}: {role}/{name}"
                values = require_numbers(data[()], where=where)
                require_shape(values.shape, (n,), where=where)
                n = len(values)
                column = Column(name=name, unit=str(data.attrs.get("unit", "")), log=bool(data.attrs.get("log", False)))
                roles[role][name] = (column, values)
    return roles


def _write_hdf5(table: FeatureTable, path: Path) -> None:
    import h5py

    # the names' order is the order of the columns
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["schema"] = SCHEMA
        for role, entries in _columns(table).items():
            if role == _WEIGHTS and not entries:
                continue
            group = file.create_group(role, track_order=True)
            for column, values in entries:
                data = group.create_dataset(column.name, data=values)
                data.attrs["unit"], data.attrs["log"] = column.unit, column.log


def _read_parquet(path: Path) -> _Roles:
    content = _pyarrow().parquet.read_table(path)
    text = (content.schema.metadata or {}).get(SCHEMA.encode())
    described: dict[str, Any] = {} if text is None else parse_json(text.decode())
    roles: _Roles = {role: {} for role in _ROLES}
    for name in content.column_names:
        values = content.column(name).to_numpy()
        known = described.get(name, {})
        if values.dtype.kind not in "fiub" and not known:
            continue  # text or lists beside the numbers of a foreign file
        numbers = require_numbers(values, where=f"{path}: {name}")
        role = known.get("role", "features")
        roles[role if role in roles else "more"][name] = (
            Column(name=name, unit=str(known.get("unit", "")), log=bool(known.get("log", False))),
            numbers,
        )
    if not roles["features"]:
        raise DataError("no column of numbers", where=path, expected="one flat column an observable")
    return roles


def _write_parquet(table: FeatureTable, path: Path) -> None:
    arrow = _pyarrow()
    described, arrays = {}, {}
    for role, entries in _columns(table).items():
        for column, values in entries:
            described[column.name] = {"role": role, "unit": column.unit, "log": column.log}
            arrays[column.name] = arrow.array(values)
    content = arrow.table(arrays)
    metadata = {**(content.schema.metadata or {}), SCHEMA.encode(): json.dumps(described).encode()}
    arrow.parquet.write_table(content.replace_schema_metadata(metadata), path)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as _  # noqa: F401 - makes it an attribute of pa
    except ImportError:
        raise MissingDependencyError(
            "reading and writing Parquet needs pyarrow", remedy='pip install "hepflows[parquet]"'
        ) from None
    return pa
