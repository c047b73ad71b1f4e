"""Writing showers to files that the readers read back exactly."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, get_args

from calofast.binning_xml import write_binning_xml
from calofast.geometry import calogan
from calofast.showers import Showers, require_same_kind
from hepflows.errors import DataError, GeometryError
from hepflows.files import atomic_file, check_output

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from calofast.write_hdf5 import Columns

WritableFormat = Literal["calogan", "calochallenge", "root-cells", "parquet"]


def write_showers(
    showers: Showers | Iterable[Showers],
    path: str | os.PathLike[str],
    *,
    format: WritableFormat | None = None,  # noqa: A002 - the word every user of file libraries knows
    force: bool = False,
    columns: Columns | None = None,
) -> Path:
    """Write showers, given as a whole or in chunks that are written one by one.

    Args:
        showers: the showers, or an iterable of them, all of one kind.
        path: the file; it appears when it is complete. A CaloChallenge file with cylindrical layers gets its
            binning file beside it, of the same name with the suffix ``.xml``.
        format: ``calogan``, ``calochallenge``, ``root-cells`` or ``parquet``; None chooses by the suffix, ``.root``,
            ``.parquet`` or ``.h5``/``.hdf5`` (CaloGAN layout if all layers are regular, else CaloChallenge).
        force: replace existing files.
        columns: further values of all N showers, name to array (N, ...) and unit, which readers leave aside;
            HDF5 only.

    Returns:
        `path`.

    Raises:
        DataError: nothing to write, chunks of different kinds, or a suffix that tells no format.
        GeometryError: the layout cannot hold this geometry.
        OutputError: the file exists and `force` is false, or cannot be written.
        MissingDependencyError: Parquet is asked for and pyarrow is not installed.
    """
    path = check_output(path, force=force)
    chunks = iter([showers] if isinstance(showers, Showers) else showers)
    head = next((chunk for chunk in chunks if len(chunk)), None)
    if head is None:
        raise DataError("no showers to write", where=path)
    layout = _layout(head, path, format)
    chunks = _checked(itertools.chain([head], chunks), head)
    if layout in ("root-cells", "parquet"):
        from calofast.write_parquet import write_parquet
        from calofast.write_root import write_root_cells

        if columns:
            raise DataError("only HDF5 files hold further columns", where=path, found=", ".join(columns))
        with atomic_file(path, force=force) as temporary:
            (write_root_cells if layout == "root-cells" else write_parquet)(chunks, temporary)
        return path
    from calofast.write_hdf5 import write_calochallenge, write_calogan

    if layout == "calogan":
        with atomic_file(path, force=force) as temporary:
            write_calogan(chunks, temporary, columns=columns)
        return path
    binning = path.with_suffix(".xml")
    cylindrical = all(layer.kind == "cylindrical" for layer in head.geometry.layers)
    is_new = cylindrical and not check_output(binning, force=force).exists()
    try:
        with atomic_file(path, force=force) as temporary:
            write_calochallenge(chunks, temporary, columns=columns)
            if cylindrical:
                write_binning_xml(head.geometry, binning, force=force)
    except BaseException:
        if is_new:
            binning.unlink(missing_ok=True)
        raise
    return path


def _layout(head: Showers, path: Path, wanted: str | None) -> WritableFormat:
    regular = all(layer.kind == "regular" for layer in head.geometry.layers)
    if wanted is None:
        suffix = path.suffix.lower()
        if suffix == ".root":
            return "root-cells"
        if suffix == ".parquet":
            return "parquet"
        if suffix in (".h5", ".hdf5"):
            return "calogan" if regular or head.geometry == calogan() else "calochallenge"
        raise DataError(
            "the suffix tells no format",
            where=path,
            expected=".h5, .hdf5, .root or .parquet",
            remedy="choose one of these suffixes",
        )
    for layout in get_args(WritableFormat):
        if layout == wanted:
            if layout == "calogan" and not regular:
                raise GeometryError(
                    "the CaloGAN layout holds regular layers only",
                    where=path,
                    found=head.geometry.name,
                    remedy="write calochallenge or root-cells",
                )
            return layout  # type: ignore[no-any-return]  # one of the literals by construction
    known = ", ".join(get_args(WritableFormat))
    raise DataError("unknown file format", where=path, expected=known, found=repr(wanted))


def _checked(chunks: Iterable[Showers], head: Showers) -> Iterator[Showers]:
    for index, chunk in enumerate(chunks):
        require_same_kind(head, chunk, where=f"chunk {index}")
        if chunk.pdg != head.pdg:
            raise DataError("chunks of different particles", where=f"chunk {index}", expected=head.pdg, found=chunk.pdg)
        if len(chunk):
            yield chunk
