"""Which jets of a file are read, and what of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, get_args

import numpy as np

from hepflows.errors import DataError
from jetgen.energy_units import UNIT_KEYS
from jetgen.jet_file import FileFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from jetgen.jet_file import JetFile


class ReadSettings(TypedDict, total=False):
    """Keyword arguments of `read_jets`, all of them optional."""

    format: FileFormat | None
    particles: int | None
    part: tuple[float, float]
    first: int | None
    kind: str | None
    pt_range_gev: tuple[float, float] | None
    drop_empty: bool
    sort: bool
    tree: str | None
    branches: Mapping[str, str] | None
    columns: Sequence[str] | None
    units: Mapping[str, str] | None


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a file and which of its jets; see `read_jets`."""

    format: FileFormat | None = None
    particles: int | None = None
    part: tuple[float, float] = (0.0, 1.0)
    first: int | None = None
    kind: str | None = None
    pt_range_gev: tuple[float, float] | None = None
    drop_empty: bool = False
    sort: bool = True
    tree: str | None = None
    branches: Mapping[str, str] | None = None
    columns: Sequence[str] | None = None
    units: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in get_args(FileFormat):
            raise DataError("unknown file format", expected=", ".join(get_args(FileFormat)), found=repr(self.format))
        if unknown := sorted(set(self.units or {}) - set(UNIT_KEYS)):
            raise DataError("unknown entry in units", expected=", ".join(UNIT_KEYS), found=unknown[0])
        if not 0.0 <= self.part[0] < self.part[1] <= 1.0:
            raise DataError("part must be a rising pair of fractions in [0, 1]", where="part", found=self.part)
        if self.first is not None and self.first < 1:
            raise DataError("number of jets must be positive", where="first", found=self.first)
        if self.particles is not None and self.particles < 1:
            raise DataError("number of constituents must be positive", where="particles", found=self.particles)
        if self.particles is not None and not self.sort:
            raise DataError("the hardest constituents can only be told by sorting", where="particles with sort=false")
        if self.pt_range_gev is not None and not self.pt_range_gev[0] <= self.pt_range_gev[1]:
            raise DataError("pT range must rise", where="pt_range_gev", found=self.pt_range_gev)


def plan_reading(file: JetFile, options: ReadOptions) -> NDArray[np.int64]:
    """Entries that the selections leave, rising.

    Raises:
        DataError: the file does not tell what is selected by, or nothing is left.
    """
    start, stop = (round(fraction * file.n) for fraction in options.part)
    keep = np.zeros(file.n, dtype=bool)
    keep[start:stop] = True
    pt = file.features.get("jet_pt_gev")
    if options.pt_range_gev is not None:
        if pt is None:
            raise DataError(
                "the file does not tell the pT of its jets", where=file.path, remedy="leave pt_range_gev out"
            )
        low, high = options.pt_range_gev
        keep &= (pt >= low) & (pt <= high)
    if options.kind is not None and file.kinds is not None:
        keep &= file.kinds == options.kind
    entries = np.flatnonzero(keep)[: options.first].astype(np.int64)
    if entries.size == 0:
        kinds = "unknown" if file.kinds is None else ", ".join(np.unique(file.kinds).tolist())
        range_gev = "unknown pT" if pt is None else f"{np.nanmin(pt):g} to {np.nanmax(pt):g} GeV"
        raise DataError(
            "no jets are left by the selection",
            where=file.path,
            found=f"{file.n} entries of {range_gev}, kind {file.kind or kinds}",
            remedy="widen the pT range or the part, or choose another kind",
        )
    return entries


def kind_of(file: JetFile, options: ReadOptions, entries: NDArray[np.int64]) -> str | None:
    """Label of the selected jets: what the file says, or else the user; None for a mixture."""
    if file.kinds is None:
        return options.kind or file.kind
    kinds = np.unique(file.kinds[entries]).tolist()
    return str(kinds[0]) if len(kinds) == 1 else None
