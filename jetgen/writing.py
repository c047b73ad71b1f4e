"""Writing jets to files that the readers read back exactly."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, get_args

from hepflows.errors import DataError
from hepflows.files import atomic_file, check_output
from jetgen.jet_file import FileFormat
from jetgen.jets import Jets, require_same_kind

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SUFFIXES: Final[dict[str, FileFormat]] = {
    ".h5": "jetnet",
    ".hdf5": "jetnet",
    ".root": "root",
    ".parquet": "parquet",
}


def write_jets(
    jets: Jets | Iterable[Jets],
    path: str | os.PathLike[str],
    *,
    format: FileFormat | None = None,  # noqa: A002 - the word every user of file libraries knows
    force: bool = False,
) -> Path:
    """Write jets, given as a whole or in chunks that are written one by one.

    Args:
        jets: the jets, or an iterable of them, all with the same slots and known features.
        path: the file; it appears when it is complete.
        format: ``jetnet``, ``root`` or ``parquet``; None chooses by the suffix, ``.h5``/``.hdf5``, ``.root`` or
            ``.parquet``.
        force: replace an existing file.

    Returns:
        `path`.

    Raises:
        DataError: nothing to write, chunks that do not fit together, or a suffix that tells no format.
        OutputError: the file exists and `force` is false, or cannot be written.
        MissingDependencyError: Parquet is asked for and pyarrow is not installed.
    """
    path = check_output(path, force=force)
    layout = _layout(path, format)
    chunks = iter([jets] if isinstance(jets, Jets) else jets)
    head = next((chunk for chunk in chunks if len(chunk)), None)
    if head is None:
        raise DataError("no jets to write", where=path)
    chunks = _checked(itertools.chain([head], chunks), head)
    with atomic_file(path, force=force) as temporary:
        if layout == "jetnet":
            from jetgen.write_jetnet import write_jetnet

            write_jetnet(chunks, temporary)
        elif layout == "root":
            from jetgen.write_jagged import write_root

            write_root(chunks, temporary)
        else:
            from jetgen.write_jagged import write_parquet

            write_parquet(chunks, temporary)
    return path


def _layout(path: Path, wanted: str | None) -> str:
    if wanted is None:
        if (layout := _SUFFIXES.get(path.suffix.lower())) is None:
            raise DataError(
                "the suffix tells no format",
                where=path,
                expected=".h5, .hdf5, .root or .parquet",
                remedy="choose one of these suffixes",
            )
        return layout
    if wanted not in get_args(FileFormat):
        raise DataError("unknown file format", where=path, expected=", ".join(get_args(FileFormat)), found=repr(wanted))
    return wanted


def _checked(chunks: Iterable[Jets], head: Jets) -> Iterator[Jets]:
    for index, chunk in enumerate(chunks):
        require_same_kind(head, chunk, where=f"chunk {index}")
        if chunk.kind != head.kind:
            raise DataError("chunks of different kinds", where=f"chunk {index}", expected=head.kind, found=chunk.kind)
        if len(chunk):
            yield chunk
