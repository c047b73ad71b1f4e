"""Jets from tables with one list of constituents a jet: ROOT trees and Parquet files alike.

Columns, all of which can have other names (see `NAMES`): ``jet_pt``, ``jet_eta``, ``jet_phi``, ``jet_mass`` and
``jet_nall``, the number of all constituents; ``npart``, the number of stored ones; and as lists either ``part_pt``,
``part_eta``, ``part_phi`` or ``part_px``, ``part_py``, ``part_pz``, absolute, or ``part_ptrel``, ``part_etarel``,
``part_phirel``. Constituents are taken as massless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import awkward as ak
import numpy as np

from hepflows.errors import DataError
from hepflows.reading import require_shape
from hepflows.remedies import option
from jetgen.energy_units import to_gev
from jetgen.jet_file import Block, JetFile
from jetgen.kinematics import relative_constituents

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from jetgen.jet_file import FileFormat, Metadata

_LISTS: Final = {
    "relative": ("part_ptrel", "part_etarel", "part_phirel"),
    "angles": ("part_pt", "part_eta", "part_phi"),
    "cartesian": ("part_px", "part_py", "part_pz"),
}
_FEATURES: Final = {
    "jet_pt": "jet_pt_gev",
    "jet_eta": "jet_eta",
    "jet_phi": "jet_phi",
    "jet_mass": "jet_mass_gev",
    "jet_nall": "n_constituents_all",
    "weights": "weights",
    "mass_condition": "mass_condition",
}
_AXIS: Final = ("jet_pt", "jet_eta", "jet_phi")
NAMES: Final = (*_FEATURES, "npart", *(name for names in _LISTS.values() for name in names))
_BLOCK: Final = 10_000


class Source(Protocol):
    """A table of n entries, with its place for messages."""

    path: Path
    label: str
    n: int
    names: tuple[str, ...]

    def column(self, name: str) -> NDArray[np.float64]:
        """A whole column of numbers, shape (n,)."""
        ...

    def lists(self, names: tuple[str, ...], start: int, stop: int) -> Mapping[str, ak.Array]:
        """Columns of lists for a range of entries."""
        ...


class _Columns(NamedTuple):
    """How the constituents stand in a table: its layout and the names of everything in it."""

    layout: str
    names: dict[str, str]

    @property
    def lists(self) -> tuple[str, ...]:
        """Names of the three columns of lists."""
        return tuple(self.names[name] for name in _LISTS[self.layout])


def find_layout(names: tuple[str, ...], branches: Mapping[str, str] | None) -> str | None:
    """Which layout a table with these columns has: relative, angles, cartesian, or None."""
    given = dict(branches or {})
    renamed = {name: name for name in NAMES} | given
    found = [layout for layout, lists in _LISTS.items() if any(renamed[name] in names for name in lists)]
    # what the user names comes first, whatever else is there
    return min(found, key=lambda layout: not any(given.get(name) for name in _LISTS[layout]), default=None)


def jagged_file(
    source: Source,
    file_format: FileFormat,
    *,
    metadata: Metadata | None,
    branches: Mapping[str, str] | None,
    units: Mapping[str, str] | None,
) -> JetFile:
    """Turn a table into jets.

    Args:
        source: the table.
        file_format: format of its file.
        metadata: what this package stored in the file, if it wrote it.
        branches: names of columns that differ from `NAMES`; an empty name leaves a column out.
        units: units of jet_pt, jet_mass and part_pt, if they are not GeV.

    Raises:
        DataError: a column is missing or holds no numbers, no entries.
        UnitsError: an unknown unit.
    """
    columns = _columns(source, branches)
    given = units or {}
    features = {
        field: _column(source, columns.names[name])
        for name, field in _FEATURES.items()
        if columns.names[name] in source.names
    }
    assumed = {key: given.get(key, "GeV") for key in ("jet_pt", "jet_mass") if _FEATURES[key] in features}
    for key, unit in assumed.items():
        features[_FEATURES[key]] = to_gev(features[_FEATURES[key]], unit, where=f"{source.label}/{key}")
    reader = _Reader(source, columns, features, metadata)
    notes = []
    if columns.layout != "relative":
        assumed["part_pt"] = given.get("part_pt", "GeV")
        reader.to_gev = float(to_gev(np.ones(1), assumed["part_pt"], where=f"{source.label}/part_pt")[0])
        if missing := [name for name in _AXIS if _FEATURES[name] not in features]:
            if len(missing) < len(_AXIS):
                raise _missing(source, missing[0], ", ".join(_AXIS))
            features.update(reader.axes())
            notes.append("pT, eta, phi and mass of the jets are those of the sum of their stored constituents")
    if metadata is not None:
        known = {name: values for name, values in features.items() if name in metadata.known}
    return JetFile(
        path=source.path,
        format=file_format,
        n=source.n,
        n_slots=reader.n_slots,
        units=assumed,
        features=features if metadata is None else known,
        read_block=reader.read_block,
        kind=metadata.kind if metadata else None,
        provenance=metadata.provenance if metadata else {"table": source.label.removeprefix(f"{source.path}: ")},
        notes=tuple(notes),
    )


def _column(source: Source, name: str) -> NDArray[np.float64]:
    values = source.column(name)
    require_shape(values.shape, (source.n,), where=f"{source.label}/{name}")
    return values


def _columns(source: Source, branches: Mapping[str, str] | None) -> _Columns:
    renamed = dict(branches or {})
    if unknown := sorted(set(renamed) - set(NAMES)):
        raise DataError("unknown entry in branches", where=source.path, expected=", ".join(NAMES), found=unknown[0])
    for name, given in renamed.items():
        if given and given not in source.names:
            raise _missing(source, given, f"the branch to be taken for {name}")
    layout = find_layout(source.names, renamed)
    names = {name: name for name in NAMES} | renamed
    if layout is None:
        raise DataError(
            "no constituents of jets",
            where=source.label,
            expected="lists part_pt, part_eta, part_phi or part_px, part_py, part_pz",
            found=", ".join(source.names[:20]) or "no branches",
            remedy=f"name them: {option('branches.part_pt=NAME')}",
        )
    for name in _LISTS[layout]:
        if names[name] not in source.names:
            raise _missing(source, names[name], ", ".join(names[key] for key in _LISTS[layout]))
    return _Columns(layout, names)


def _missing(source: Source, name: str, expected: str) -> DataError:
    return DataError(
        f"branch {name!r} is missing",
        where=source.label,
        expected=expected,
        found=", ".join(source.names[:20]),
        remedy=f"write the file again with it, or name it: {option('branches.' + name + '=NAME')}"
        if name in NAMES
        else "check the name",
    )


class _Reader:
    """Reads blocks of lists and pads them to P slots."""

    def __init__(
        self,
        source: Source,
        columns: _Columns,
        features: Mapping[str, NDArray[np.float64]],
        metadata: Metadata | None,
    ) -> None:
        self.source, self.columns, self.features = source, columns, features
        self.to_gev = 1.0
        counter = columns.names["npart"]
        self.stated = _column(source, counter) if counter in source.names else None
        self.n_slots = metadata.n_slots if metadata else max(1, self._most())

    def _most(self) -> int:
        """Largest number of constituents, from the counter or by going through the file."""
        if self.stated is not None:
            return int(np.nanmax(self.stated, initial=0))
        name = self.columns.lists[0]
        most = 0
        for start in range(0, self.source.n, _BLOCK):
            stop = min(start + _BLOCK, self.source.n)
            most = max(most, int(self._counts(self.source.lists((name,), start, stop), name).max()))
        return most

    def read_block(self, start: int, stop: int) -> Block:
        """Constituents of a range of entries, relative to the axes of their jets."""
        first, second, third, mask = self._padded(start, stop)
        if self.columns.layout == "relative":
            return Block(second, third, first, mask)
        axis = {name: self.features[_FEATURES[name]][start:stop, None] for name in _AXIS}
        with np.errstate(all="ignore"):  # what is not finite is refused with its place
            pt, eta, phi = self._angles(first, second, third)
            eta_rel, phi_rel, pt_rel = relative_constituents(pt, eta, phi, **axis)
        filled = [np.where(mask, values, 0.0) for values in (eta_rel, phi_rel, pt_rel)]
        return Block(filled[0], filled[1], filled[2], mask)

    def axes(self) -> dict[str, NDArray[np.float64]]:
        """Features of the jets as sums of their massless constituents."""
        import vector

        found: dict[str, list[NDArray[np.float64]]] = {_FEATURES[name]: [] for name in (*_AXIS, "jet_mass")}
        for start in range(0, self.source.n, _BLOCK):
            first, second, third, _ = self._padded(start, min(start + _BLOCK, self.source.n))
            with np.errstate(all="ignore"):
                pt, eta, phi = self._angles(first, second, third)
                empty = pt == 0
                four = {"pt": pt, "phi": phi, "eta": np.where(empty, 0.0, eta), "mass": np.zeros_like(pt)}
                jets = vector.array(four).sum(axis=1)
                for values, part in zip(found.values(), (jets.pt, jets.eta, jets.phi, jets.mass), strict=True):
                    values.append(np.asarray(part))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _angles(
        self, first: NDArray[np.float64], second: NDArray[np.float64], third: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The pT in GeV, eta and phi of constituents."""
        if self.columns.layout == "angles":
            return first * self.to_gev, second, third
        import vector

        momenta = vector.array({"px": first, "py": second, "pz": third})
        return np.asarray(momenta.pt) * self.to_gev, np.asarray(momenta.eta), np.asarray(momenta.phi)

    def _padded(
        self, start: int, stop: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """The three lists as arrays (m, P), 0 in empty slots, and the mask."""
        names = self.columns.lists
        lists = self.source.lists(names, start, stop)
        counts = self._counts(lists, names[0])
        rows = {name: len(lists[name]) for name in names}
        if set(rows.values()) != {stop - start}:
            raise DataError(
                "columns have different numbers of entries",
                where=f"{self.source.path}: entries {start} to {stop}",
                expected=str(stop - start),
                found=", ".join(f"{name}: {count}" for name, count in rows.items()),
                remedy="the file seems damaged: produce it again",
            )
        for name in names[1:]:
            self._same(self._counts(lists, name), counts, start, f"{names[0]} and {name} have different lengths")
        if self.stated is not None:
            self._same(
                counts, self.stated[start:stop], start, f"{self.columns.names['npart']} is not the length of the lists"
            )
        self._same(np.minimum(counts, self.n_slots), counts, start, "more constituents than the file states slots")
        mask = np.arange(self.n_slots) < counts[:, None]
        padded = np.zeros((3, stop - start, self.n_slots))
        for values, name in zip(padded, names, strict=True):
            values[mask] = ak.to_numpy(ak.flatten(lists[name], axis=1))
        return padded[0], padded[1], padded[2], mask

    def _counts(self, lists: Mapping[str, ak.Array], name: str) -> NDArray[np.int64]:
        array = lists[name]
        try:
            counts, kind = np.asarray(ak.num(array, axis=1)), ak.to_numpy(ak.flatten(array, axis=1)).dtype.kind
        except (ValueError, TypeError):  # numpy's AxisError among them
            counts, kind = np.zeros(0), "-"
        if kind not in "fiu":
            raise DataError(
                "not lists of numbers",
                where=f"{self.source.label}/{name}",
                expected="one list of numbers for each jet",
                found=str(array.type),
            )
        return counts

    def _same(self, found: NDArray[np.generic], wanted: NDArray[np.generic], start: int, what: str) -> None:
        differ = found != wanted
        if differ.any():
            row = int(np.argmax(differ))
            raise DataError(
                what,
                where=f"{self.source.path}: entry {start + row}",
                found=f"{found[row]} against {wanted[row]:g}",
                remedy="remove or repair this entry",
            )
