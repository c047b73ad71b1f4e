"""Reader of the JetNet HDF5 layout (arXiv 2106.11535).

``particle_features`` (N, P, 4): eta_rel, phi_rel, pT_rel, mask, with P = 30 or 150 or any other; the mask may be
missing, then slots with pT > 0 count. ``jet_features`` (N, 4): pT, eta, mass (GeV), number of constituents; with a
fifth column the jet's type stands first, as in the arrays of the Python package jetnet.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hepflows.errors import DataError
from hepflows.hdf5_input import members, open_hdf5_input, text_of
from hepflows.reading import reading, require_numbers, require_shape
from hepflows.remedies import option
from jetgen.energy_units import to_gev
from jetgen.jet_file import METADATA, Block, JetFile, Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PARTICLES: Final = "particle_features"
JETS: Final = "jet_features"
KINDS: Final = ("g", "q", "t", "w", "z")  # the package jetnet numbers its types in this order
_FIELDS: Final = {
    "pt": "jet_pt_gev",
    "eta": "jet_eta",
    "phi": "jet_phi",
    "mass": "jet_mass_gev",
    "num_particles": "n_constituents_all",
    "type": "type",
}
_ENERGIES: Final = {"jet_pt_gev": "jet_pt", "jet_mass_gev": "jet_mass"}
_LAYOUTS: Final = {
    3: ("pt", "eta", "mass"),
    4: ("pt", "eta", "mass", "num_particles"),
    5: ("type", "pt", "eta", "mass", "num_particles"),
}


@contextlib.contextmanager
def open_jetnet(
    path: Path, *, columns: Sequence[str] | None = None, units: Mapping[str, str] | None = None
) -> Iterator[JetFile]:
    """Open a JetNet HDF5 file.

    Args:
        path: an existing file.
        columns: what the columns of ``jet_features`` are: pt, eta, phi, mass, num_particles or type; None takes
            what the file states, or the columns above by their number.
        units: units of jet_pt and jet_mass, if they are not GeV.

    Raises:
        DataError: not HDF5, damaged, a data set is missing or has a wrong shape, no entries.
        UnitsError: an unknown unit.
    """
    with open_hdf5_input(path) as file:
        data_sets = members(file, "Dataset", path)
        shapes = {name: item.shape for name, item in data_sets.items() if item.shape is not None}
        with reading(path, "attributes"):
            attributes = {key: _text(value) for key, value in file.attrs.items()}
        text = text_of(data_sets[METADATA], path, METADATA) if METADATA in data_sets else None
        metadata = None if text is None else Metadata.from_json(text, path=path)
        yield _jet_file(file, path, shapes, attributes, metadata, columns, dict(units or {}))


def _jet_file(
    file: Any,
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    attributes: Mapping[str, str],
    metadata: Metadata | None,
    columns: Sequence[str] | None,
    units: Mapping[str, str],
) -> JetFile:
    shape = _particle_shape(shapes, path)
    n, n_slots, width = shape
    notes = [] if width == 4 else ["no mask in the file: slots with pT > 0 count as constituents"]

    def read_block(start: int, stop: int) -> Block:
        with reading(path, f"{PARTICLES}, entries {start} to {stop}"):
            values = file[PARTICLES][start:stop]
        if values.dtype.kind != "f":
            values = require_numbers(values, where=f"{path}: {PARTICLES}")
        mask = values[..., 3] if width == 4 else values[..., 2] > 0
        return Block(values[..., 0], values[..., 1], values[..., 2], mask)

    table = _features(file, path, shapes, n, columns)
    for name in ("jet_phi", "weights", "mass_condition"):
        if name in shapes:
            table[name] = _column(file, path, name, n)
    if metadata is not None:
        table = {name: values for name, values in table.items() if name in metadata.known}
    kinds = _kinds(table.pop("type", None), path)
    assumed = {key: units.get(key, "GeV") for name, key in _ENERGIES.items() if name in table}
    for name, key in _ENERGIES.items():
        if name in table:
            table[name] = to_gev(table[name], assumed[key], where=f"{path}: {key}")
    named = re.fullmatch(rf"([{''.join(KINDS)}])(30|150)?", path.stem)
    kind = attributes.get("kind") or (named[1] if named and kinds is None else None)
    if metadata is None and kind and "kind" not in attributes:
        notes.append(f"the name of the file tells that these are {kind} jets")
    return JetFile(
        path=path,
        format="jetnet",
        n=n,
        n_slots=n_slots,
        units=assumed,
        features=table,
        read_block=read_block,
        kinds=kinds,
        kind=metadata.kind if metadata else kind,
        provenance=metadata.provenance if metadata else attributes,
        notes=tuple(notes),
    )


def _particle_shape(shapes: Mapping[str, tuple[int, ...]], path: Path) -> tuple[int, int, int]:
    if PARTICLES not in shapes:
        raise DataError(
            f"data set {PARTICLES!r} is missing",
            where=path,
            expected=f"{PARTICLES} (N, P, 4) and {JETS} (N, 4), the JetNet layout",
            found=", ".join(sorted(shapes)) or "no data sets",
            remedy="convert the file to this layout",
        )
    shape, where = shapes[PARTICLES], f"{path}: {PARTICLES}"
    if len(shape) != 3 or shape[1] == 0 or shape[2] not in (3, 4):
        raise DataError("wrong shape", where=where, expected="(N, P, 4): eta_rel, phi_rel, pT_rel, mask", found=shape)
    if shape[0] == 0:
        raise DataError("the file holds no jets", where=where, remedy="check how it was made")
    return shape[0], shape[1], shape[2]


def _features(
    file: Any, path: Path, shapes: Mapping[str, tuple[int, ...]], n: int, columns: Sequence[str] | None
) -> dict[str, NDArray[np.float64]]:
    """Columns of ``jet_features`` by field names; those that are NaN throughout are unknown."""
    if JETS not in shapes:
        return {}
    where = f"{path}: {JETS}"
    require_shape(shapes[JETS], (n, None), where=where)
    with reading(path, JETS):
        values = file[JETS][...]
        stated = file[JETS].attrs.get("columns")
    table = require_numbers(values, where=where)
    names = list(columns or (_text(stated).split(",") if stated is not None else _LAYOUTS.get(table.shape[1], ())))
    unknown = [name for name in names if name not in _FIELDS]
    if len(names) != table.shape[1] or unknown or len(set(names)) < len(names):
        raise DataError(
            "the columns of the jet features are not known" if not unknown else f"unknown column {unknown[0]!r}",
            where=where,
            expected=f"3 to 5 columns, {', '.join(_LAYOUTS[5])}, or one name of {', '.join(_FIELDS)} for each",
            found=f"{table.shape[1]} columns" + (f", named {', '.join(names)}" if names else ""),
            remedy=f"name them: {option('columns=[...]')}",
        )
    found = {_FIELDS[name]: column for name, column in zip(names, table.T, strict=True)}
    return {name: column for name, column in found.items() if not np.isnan(column).all()}


def _column(file: Any, path: Path, name: str, n: int) -> NDArray[np.float64]:
    with reading(path, name):
        values = np.asarray(file[name][...])
    require_shape(values.shape, (n,), where=f"{path}: {name}")
    return require_numbers(values, where=f"{path}: {name}")


def _kinds(codes: NDArray[np.float64] | None, path: Path) -> NDArray[np.str_] | None:
    if codes is None:
        return None
    bad = ~np.isin(codes, np.arange(len(KINDS)))
    if bad.any():
        entry = int(np.argmax(bad))
        raise DataError(
            "unknown type of jet",
            where=f"{path}: entry {entry}, {JETS}",
            expected=", ".join(f"{i} ({kind})" for i, kind in enumerate(KINDS)),
            found=f"{codes[entry]:g} in the column taken for the type",
            remedy=f"name the columns: {option('columns=[...]')}",
        )
    return np.array(KINDS)[codes.astype(np.int64)]


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
