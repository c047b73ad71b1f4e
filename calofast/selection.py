"""Which showers of a file are read, and how its numbers become GeV and MeV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, get_args

import numpy as np

from calofast.shower_file import FileFormat
from calofast.units import Scale, scale_to
from hepflows.errors import DataError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from calofast.shower_file import ShowerFile


class ReadSettings(TypedDict, total=False):
    """Keyword arguments of `read_showers`, all of them optional."""

    format: FileFormat | None
    geometry: Geometry | None
    binning_xml: str | os.PathLike[str] | None
    energy_range_gev: tuple[float, float] | None
    first: int | None
    part: tuple[float, float]
    tree: str | None
    pdg: int | None
    units: Mapping[str, str] | None
    conditions: Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a file and which of its showers; see `read_showers`."""

    format: FileFormat | None = None
    geometry: Geometry | None = None
    binning_xml: str | os.PathLike[str] | None = None
    energy_range_gev: tuple[float, float] | None = None
    first: int | None = None
    part: tuple[float, float] = (0.0, 1.0)
    tree: str | None = None
    pdg: int | None = None
    units: Mapping[str, str] | None = None
    conditions: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in get_args(FileFormat):
            raise DataError("unknown file format", expected=", ".join(get_args(FileFormat)), found=repr(self.format))
        if unknown := sorted(set(self.units or {}) - {"incident_energy", "voxels"}):
            raise DataError("unknown entry in units", expected="incident_energy, voxels", found=unknown[0])
        if not 0.0 <= self.part[0] < self.part[1] <= 1.0:
            raise DataError("part must be a rising pair of fractions in [0, 1]", where="part", found=self.part)
        if self.first is not None and self.first < 1:
            raise DataError("number of showers must be positive", where="first", found=self.first)
        if self.energy_range_gev is not None and not self.energy_range_gev[0] <= self.energy_range_gev[1]:
            raise DataError("energy range must rise", where="energy_range_gev", found=self.energy_range_gev)
        if self.geometry is not None and self.binning_xml is not None:
            raise DataError("give either geometry or binning_xml, not both")


@dataclass(frozen=True, kw_only=True)
class ReadingPlan:
    """Which entries are read, and how their numbers become showers in GeV and MeV."""

    entries: NDArray[np.int64]
    energy_gev: NDArray[np.float32]
    to_mev: Scale
    pdg: int | None
    mixed_pdg: NDArray[np.int64] | None


def plan_reading(file: ShowerFile, options: ReadOptions) -> ReadingPlan:
    """Apply the selections to the scalars of a file.

    Raises:
        DataError: an incident energy in the part is not finite or not positive, or nothing is left.
    """
    units = options.units or {}
    to_gev = scale_to("GeV", units.get("incident_energy", file.energy_unit), where=f"{file.path}: incident energy")
    to_mev = scale_to("MeV", units.get("voxels", file.deposit_unit), where=f"{file.path}: voxels")
    n = len(file.incident_energy)
    start, stop = (round(fraction * n) for fraction in options.part)
    energy_gev = to_gev.apply(file.incident_energy).astype(np.float32)
    in_part = energy_gev[start:stop]
    if not np.all((in_part > 0) & np.isfinite(in_part)):
        entry = start + int(np.argmin((in_part > 0) & np.isfinite(in_part)))
        raise DataError(
            "the incident energy is not a positive number",
            where=f"{file.path}: entry {entry}",
            found=f"{file.incident_energy[entry]:g} {file.energy_unit}",
            remedy="remove this entry",
        )
    keep = np.zeros(n, dtype=bool)
    keep[start:stop] = True
    if options.energy_range_gev is not None:
        low, high = options.energy_range_gev
        keep &= (energy_gev >= low) & (energy_gev <= high)
    if options.pdg is not None:
        if file.pdg is None:
            raise DataError("the file does not tell its particles", where=file.path, remedy="leave pdg out")
        keep &= file.pdg == options.pdg
    entries = np.flatnonzero(keep)[: options.first].astype(np.int64)
    if entries.size == 0:
        codes = [] if file.pdg is None else np.unique(file.pdg).tolist()
        low, high = energy_gev.min(), energy_gev.max()
        raise DataError(
            "no showers are left by the selection",
            where=file.path,
            found=f"{n} entries of {low:g} to {high:g} GeV, pdg {codes or 'unknown'}",
            remedy="widen the energy range or the part, or choose another pdg",
        )
    codes = [] if file.pdg is None else np.unique(file.pdg[entries]).tolist()
    return ReadingPlan(
        entries=entries,
        energy_gev=energy_gev,
        to_mev=to_mev,
        pdg=codes[0] if len(codes) == 1 else None,
        mixed_pdg=file.pdg if len(codes) > 1 else None,
    )
