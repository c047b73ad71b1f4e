"""Reading jets from files of any known format: detection, selection, units, streaming."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.errors import DataError
from hepflows.files import require_file
from hepflows.limits import require_memory
from hepflows.remedies import option
from jetgen.energy_units import check_magnitudes
from jetgen.jet_checks import (
    Places,
    check_constituents,
    check_counts,
    check_not_empty,
    check_scalars,
    check_stored,
    per_jet,
    per_slot,
    slot_mask,
)
from jetgen.jets import Jets
from jetgen.selection import ReadOptions, kind_of, plan_reading

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    from numpy.typing import NDArray

    from jetgen.jet_file import FileFormat, JetFile
    from jetgen.selection import ReadSettings

_BLOCK_BYTES = 2**25
_CHUNK_BYTES = 2**26
_KEPT_BYTES = 13  # of one slot in the jets that are returned
_SLOT_BYTES = 32  # of one slot in all the arrays that a block goes through


def read_jets(
    path: str | os.PathLike[str],
    *,
    format: FileFormat | None = None,  # noqa: A002 - the word every user of file libraries knows
    particles: int | None = None,
    part: tuple[float, float] = (0.0, 1.0),
    first: int | None = None,
    kind: str | None = None,
    pt_range_gev: tuple[float, float] | None = None,
    drop_empty: bool = False,
    sort: bool = True,
    tree: str | None = None,
    branches: Mapping[str, str] | None = None,
    columns: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
) -> Jets:
    """Read jets into memory; only what is selected is kept.

    Args:
        path: HDF5, ROOT or Parquet file.
        format: ``jetnet``, ``root`` or ``parquet``; None to detect it.
        particles: number of slots: keep so many constituents of each jet, the hardest ones; None keeps all.
        part: fraction of the file by position; ``(0.8, 1.0)`` is its last 20 %.
        first: keep at most so many of the jets that the other selections leave.
        kind: keep the jets of this label in a file that tells each one's; elsewhere it is the label of all.
        pt_range_gev: keep jets with pT in this closed interval.
        drop_empty: leave out jets without constituents (after `first` has counted them) instead of refusing them.
        sort: put constituents in falling order of pT where they are not.
        tree: name of the ROOT tree, needed if several could be meant.
        branches: names of ROOT branches or Parquet columns that are not the usual ones: ``{"part_pt": "cand_pt"}``;
            an empty name leaves one out.
        columns: what the columns of ``jet_features`` are in a JetNet file that does not have the usual ones.
        units: units that the file really has, if they are not GeV: ``{"jet_pt": "MeV", "part_pt": "MeV"}``, and
            ``jet_mass``.

    Returns:
        The jets in file order.

    Raises:
        DataError: the file is missing, damaged, incomplete, or holds impossible values or no jets.
        UnitsError: the magnitudes of energies or angles are impossible in the units assumed.
        MissingDependencyError: the file is Parquet and pyarrow is not installed.
    """
    options = ReadOptions(
        format=format,
        particles=particles,
        part=part,
        first=first,
        kind=kind,
        pt_range_gev=pt_range_gev,
        drop_empty=drop_empty,
        sort=sort,
        tree=tree,
        branches=branches,
        columns=columns,
        units=units,
    )
    with open_jets(path, options) as file:
        entries = plan_reading(file, options)
        return read_entries(file, entries, options, kind=kind_of(file, options, entries))


def iterate_jets(
    path: str | os.PathLike[str], *, chunk_size: int | None = None, **settings: Unpack[ReadSettings]
) -> Iterator[Jets]:
    """Read jets in chunks, for files larger than memory; only features of whole jets are held for all of them.

    Args:
        path: HDF5, ROOT or Parquet file.
        chunk_size: jets in a chunk, the last one may have fewer; None stands for about 64 MB of memory.
        **settings: the keyword arguments of `read_jets`; units are checked on the first chunk.

    Yields:
        Chunks that concatenate to what `read_jets` returns.

    Raises:
        DataError: see `read_jets`; bad values are met when their chunk is read.
    """
    options = ReadOptions(**settings)
    if chunk_size is not None and chunk_size < 1:
        raise DataError("chunk size must be positive", where="chunk_size", found=chunk_size)
    with open_jets(path, options) as file:
        entries = plan_reading(file, options)
        kind = kind_of(file, options, entries)
        size = chunk_size or max(1, _CHUNK_BYTES // (_SLOT_BYTES * file.n_slots))
        first = True
        for start in range(0, len(entries), size):
            jets = _read(file, entries[start : start + size], options, kind=kind, check_units=first)
            if jets is not None:
                yield jets
                first = False
        if first:
            raise _none_has_constituents(file)


@contextlib.contextmanager
def open_jets(path: str | os.PathLike[str], options: ReadOptions) -> Iterator[JetFile]:
    """Open a file of jets, by its content or by ``options.format``.

    Raises:
        DataError: missing, of no known format, damaged, incomplete.
    """
    path = require_file(path, "jet file")
    # The libraries are loaded for the format at hand only: uproot takes a second.
    match options.format or _detect(path):
        case "root":
            from jetgen.io_root import open_root

            with open_root(path, tree=options.tree, branches=options.branches, units=options.units) as file:
                yield file
        case "parquet":
            from jetgen.io_parquet import open_parquet

            with open_parquet(path, branches=options.branches, units=options.units) as file:
                yield file
        case _:
            from jetgen.io_jetnet import open_jetnet

            with open_jetnet(path, columns=options.columns, units=options.units) as file:
                yield file


def _detect(path: Path) -> FileFormat:
    with path.open("rb") as handle:
        head = handle.read(8)
    if head.startswith(b"root"):
        return "root"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head == b"\x89HDF\r\n\x1a\n" or path.suffix in (".h5", ".hdf5"):
        return "jetnet"
    raise DataError(
        "neither an HDF5, nor a ROOT, nor a Parquet file",
        where=path,
        expected="HDF5 (JetNet), ROOT or Parquet",
        found=f"a file of {path.stat().st_size} bytes starting with {head!r}",
        remedy="check the file; a download may have failed",
    )


def read_entries(
    file: JetFile,
    entries: NDArray[np.int64],
    options: ReadOptions,
    *,
    kind: str | None = None,
    check_units: bool = True,
) -> Jets:
    """Read these entries (rising), in blocks of bounded size; units are checked on the first block.

    Raises:
        DataError: all of them are empty and dropped.
    """
    jets = _read(file, entries, options, kind=kind, check_units=check_units)
    if jets is None:
        raise _none_has_constituents(file)
    return jets


def _none_has_constituents(file: JetFile) -> DataError:
    return DataError("none of the selected jets has constituents", where=file.path, remedy="widen the selection")


def _read(
    file: JetFile, entries: NDArray[np.int64], options: ReadOptions, *, kind: str | None, check_units: bool
) -> Jets | None:
    """What `read_entries` reads, or None if all entries are empty and dropped."""
    require_memory(_KEPT_BYTES * len(entries) * file.n_slots, where=file.path)
    size = max(1, _BLOCK_BYTES // (_SLOT_BYTES * file.n_slots))
    size = size // 1000 * 1000 or size  # whole chunks of the usual files
    parts, done = [], 0
    while done < len(entries):
        first = int(entries[done])
        until = int(np.searchsorted(entries, (first // size + 1) * size))
        jets = _read_block(file, entries[done:until], options, kind=kind, check_units=check_units)
        if jets is not None:
            parts.append(jets)
            check_units = False
        done = until
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else Jets.concatenate(parts)


def _read_block(
    file: JetFile, entries: NDArray[np.int64], options: ReadOptions, *, kind: str | None, check_units: bool
) -> Jets | None:
    """Entries that lie together, or None if all of them are empty and dropped."""
    start, stop = int(entries[0]), int(entries[-1]) + 1
    block = file.read_block(start, stop)
    rows = slice(None) if len(entries) == stop - start else entries - start
    places = Places(path=file.path, entries=entries)
    mask = slot_mask(block.mask[rows], places=places)
    if not options.drop_empty:
        check_not_empty(mask, places=places, remedy=f"repair them, or leave them out: {option('drop_empty=true')}")
    elif not (filled := mask.any(axis=1)).all():
        if not filled.any():
            return None
        mask, entries = mask[filled], entries[filled]
        rows, places = entries - start, Places(path=file.path, entries=entries)
    features: dict[str, Any] = {
        name: per_jet(values[entries], len(entries), name, integer=name == "n_constituents_all", places=places)
        for name, values in file.features.items()
    }
    check_scalars(features, places=places)
    constituents: dict[str, Any] = {
        name: per_slot(values[rows], mask, name, places=places)
        for name, values in block._asdict().items()
        if name != "mask"
    }
    if check_units:
        check_magnitudes(
            pt_sum=constituents["pt_rel"].sum(axis=1, dtype=np.float64),
            jet_pt_gev=features.get("jet_pt_gev"),
            jet_mass_gev=features.get("jet_mass_gev"),
            units=file.units,
            stated=frozenset(options.units or ()),
            where=file.path,
        )
    check_constituents(**constituents, places=places)
    n_all = features.get("n_constituents_all")
    if n_all is not None:
        check_counts(n_all, mask, places=places)
    provenance = {**file.provenance, "file": file.path.name}
    jets = Jets(**constituents, mask=mask, **features, kind=kind, provenance=provenance)
    if options.particles is not None:
        check_stored(n_all, mask, options.particles, places=places)
        return jets.hardest(options.particles)
    return jets.ordered() if options.sort else jets


def embedded_jets_path() -> Path:
    """Path of the top jets that come with the package (see ``jetgen/data/README.md``)."""
    from importlib.resources import files
    from pathlib import Path

    return Path(str(files("jetgen") / "data" / "top.h5"))
