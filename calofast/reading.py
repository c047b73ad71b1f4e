"""Reading showers from files of any known format: detection, selection, units, streaming."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

import numpy as np

from calofast.binning_xml import read_binning_xml
from calofast.selection import ReadingPlan, ReadOptions, plan_reading
from calofast.showers import Showers
from calofast.units import check_ratio
from hepflows.errors import DataError
from hepflows.files import require_file
from hepflows.limits import require_memory
from hepflows.parquet import MAGIC

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from calofast.selection import ReadSettings
    from calofast.shower_file import FileFormat, ShowerFile

_BLOCK_BYTES = 2**25
_CHUNK_BYTES = 2**26


def read_showers(
    path: str | os.PathLike[str],
    *,
    format: FileFormat | None = None,  # noqa: A002 - the word every user of file libraries knows
    geometry: Geometry | None = None,
    binning_xml: str | os.PathLike[str] | None = None,
    energy_range_gev: tuple[float, float] | None = None,
    first: int | None = None,
    part: tuple[float, float] = (0.0, 1.0),
    tree: str | None = None,
    pdg: int | None = None,
    units: Mapping[str, str] | None = None,
    conditions: Sequence[str] | None = None,
) -> Showers:
    """Read showers into memory; only what is selected is kept.

    Args:
        path: HDF5, ROOT or Parquet file.
        format: ``calogan``, ``calochallenge``, ``root-cells``, ``root-hits`` or ``parquet``; None to detect it.
        geometry: geometry of the voxels, if the file neither tells it nor has a standard one.
        binning_xml: CaloChallenge binning file to take the geometry from.
        energy_range_gev: keep incident energies in this closed interval.
        first: keep at most so many of the showers that the other selections leave.
        part: fraction of the file by position; ``(0.8, 1.0)`` is its last 20 %.
        tree: name of the ROOT tree, needed if several could be meant.
        pdg: keep this particle only.
        units: units that the file really has, if they differ from its layout's:
            ``{"incident_energy": "MeV", "voxels": "GeV"}``, either entry alone, too.
        conditions: scalars to take as conditions; None takes those whose name or unit is known.

    Returns:
        The showers in file order. In a file of several particles, `Showers.pdg` is None and the condition
        ``pdg`` holds each shower's code.

    Raises:
        DataError: the file is missing, damaged, incomplete, or holds impossible values or no showers.
        GeometryError: the geometry does not match the data, or cannot be told.
        UnitsError: the median of E_tot / E_inc is impossible in the units assumed.
    """
    options = ReadOptions(
        format=format,
        geometry=geometry,
        binning_xml=binning_xml,
        energy_range_gev=energy_range_gev,
        first=first,
        part=part,
        tree=tree,
        pdg=pdg,
        units=units,
        conditions=conditions,
    )
    with open_showers(path, options) as file:
        plan = plan_reading(file, options)
        showers = read_entries(file, plan, plan.entries)
        check_units(file, showers, options)
        return showers


def iterate_showers(
    path: str | os.PathLike[str], *, chunk_size: int | None = None, **settings: Unpack[ReadSettings]
) -> Iterator[Showers]:
    """Read showers in chunks, for files larger than memory; only their scalars are held as a whole.

    Args:
        path: HDF5, ROOT or Parquet file.
        chunk_size: showers in a chunk, the last one may have fewer; None stands for about 64 MB of voxels.
        **settings: the keyword arguments of `read_showers`; units are checked on the first chunk.

    Yields:
        Chunks that concatenate to what `read_showers` returns.

    Raises:
        DataError: see `read_showers`; bad values are met when their chunk is read.
    """
    options = ReadOptions(**settings)
    if chunk_size is not None and chunk_size < 1:
        raise DataError("chunk size must be positive", where="chunk_size", found=chunk_size)
    with open_showers(path, options) as file:
        plan = plan_reading(file, options)
        size = chunk_size or max(1, _CHUNK_BYTES // (4 * file.geometry.n_voxels))
        for start in range(0, len(plan.entries), size):
            showers = read_entries(file, plan, plan.entries[start : start + size])
            if start == 0:
                check_units(file, showers, options)
            yield showers


@contextlib.contextmanager
def open_showers(path: str | os.PathLike[str], options: ReadOptions) -> Iterator[ShowerFile]:
    """Open a file of showers, by its content or by ``options.format``.

    Raises:
        DataError: missing, neither HDF5 nor ROOT nor Parquet, damaged, incomplete.
        GeometryError: the geometry does not match the data, or cannot be told.
    """
    path = require_file(path, "shower file")
    geometry = options.geometry
    if options.binning_xml is not None:
        geometry = read_binning_xml(options.binning_xml)
    # The libraries are loaded for the format at hand only: uproot takes a second.
    container = _container(path, options.format)
    if container == "parquet":
        from calofast.io_parquet import open_parquet

        with open_parquet(path, geometry=geometry, conditions=options.conditions) as file:
            yield file
    elif container == "root":
        from calofast.io_root import open_root

        with open_root(
            path, format=options.format, geometry=geometry, tree=options.tree, conditions=options.conditions
        ) as file:
            yield file
    else:
        from calofast.io_hdf5 import open_hdf5

        with open_hdf5(path, format=options.format, geometry=geometry, conditions=options.conditions) as file:
            yield file


def _container(path: Path, file_format: str | None) -> Literal["hdf5", "root", "parquet"]:
    if file_format is not None:
        return "parquet" if file_format == "parquet" else "root" if file_format.startswith("root") else "hdf5"
    with path.open("rb") as handle:
        head = handle.read(8)
    if head.startswith(b"root"):
        return "root"
    if head.startswith(MAGIC):
        return "parquet"
    if head == b"\x89HDF\r\n\x1a\n" or path.suffix in (".h5", ".hdf5"):
        return "hdf5"
    raise DataError(
        "neither an HDF5 nor a ROOT nor a Parquet file",
        where=path,
        expected="HDF5 (CaloGAN, CaloChallenge), ROOT or Parquet",
        found=f"a file of {path.stat().st_size} bytes starting with {head!r}",
        remedy="check the file; a download may have failed",
    )


def read_entries(file: ShowerFile, plan: ReadingPlan, entries: NDArray[np.int64]) -> Showers:
    """Read these entries (rising), in blocks of bounded size."""
    geometry = file.geometry
    require_memory(4 * len(entries) * (geometry.n_voxels + geometry.n_layers), where=file.path)
    voxels = np.empty((len(entries), geometry.n_voxels), dtype=np.float32)
    overflow = np.empty((len(entries), geometry.n_layers), dtype=np.float32) if file.has_overflow else None
    size = max(1, _BLOCK_BYTES // (4 * geometry.n_voxels))
    size = size // 1000 * 1000 or size  # whole chunks of the usual files
    done = 0
    while done < len(entries):
        first = int(entries[done])
        until = int(np.searchsorted(entries, (first // size + 1) * size))
        stop = int(entries[until - 1]) + 1
        block, outside = file.read_block(first, stop)
        rows = entries[done:until] - first
        chosen = slice(None) if len(rows) == stop - first else rows
        plan.to_mev.apply(block[chosen], out=voxels[done:until])
        if overflow is not None and outside is not None:
            plan.to_mev.apply(outside[chosen], out=overflow[done:until])
        done = until
    _check_deposits(file, entries, voxels, overflow)
    conditions, condition_units = conditions_of_entries(file, plan, entries)
    return Showers(
        geometry=geometry,
        incident_energy_gev=plan.energy_gev[entries],
        voxels_mev=voxels,
        overflow_mev=overflow,
        pdg=plan.pdg,
        conditions=conditions,
        condition_units=condition_units,
        weights=None if file.weights is None else file.weights[entries],
        provenance={**file.provenance, "file": file.path.name},
    )


def conditions_of_entries(
    file: ShowerFile, plan: ReadingPlan, entries: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Conditions of these entries but for the energy, and their units, by name."""
    conditions = {name: values[entries] for name, values in file.conditions.items()}
    units = dict(file.condition_units)
    if plan.mixed_pdg is not None:
        conditions["pdg"], units["pdg"] = plan.mixed_pdg[entries].astype(np.float32), ""
    return conditions, units


def _check_deposits(
    file: ShowerFile,
    entries: NDArray[np.int64],
    voxels: NDArray[np.float32],
    overflow: NDArray[np.float32] | None,
) -> None:
    for values, name in ((voxels, "voxel"), (overflow, "overflow")):
        # NaN propagates through min and max
        if values is None or (values.min() >= 0 and values.max() < np.inf):
            continue
        bad = ~((values >= 0) & (values < np.inf))
        row, column = np.argwhere(bad)[0].tolist()
        value = float(values[row, column])
        cell = file.geometry.voxel_label(column) if name == "voxel" else f"overflow of layer {column}"
        raise DataError(
            "negative energy" if np.isfinite(value) else "energy is not finite",
            where=f"{file.path}: entry {entries[row]}, {cell}",
            expected="a finite energy, not negative",
            found=f"{value:g} ({int(bad.sum())} such value(s) in this chunk)",
            remedy="remove or repair these entries",
        )


def check_units(file: ShowerFile, showers: Showers, options: ReadOptions) -> None:
    """Raise `UnitsError` if the energies of `showers` cannot be in the units assumed for `file`."""
    units = options.units or {}
    check_ratio(
        showers.e_tot_mev,
        showers.incident_energy_gev,
        where=file.path,
        energy_unit=units.get("incident_energy", file.energy_unit),
        deposit_unit=units.get("voxels", file.deposit_unit),
        stated=frozenset(units),
    )


def embedded_showers_path() -> Path:
    """Path of the e+ showers that come with the package (see ``calofast/data/README.md``)."""
    from importlib.resources import files
    from pathlib import Path

    return Path(str(files("calofast") / "data" / "eplus.h5"))
