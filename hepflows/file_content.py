"""Saying in a few words what a file that no task can read holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

_MAX_NAMES = 10


def describe_content(path: str | os.PathLike[str]) -> str:
    """What an existing file seems to be: its data sets or trees, or how it begins."""
    path = Path(path)
    with path.open("rb") as handle:
        head = handle.read(8)
    if not head:
        return "an empty file"
    try:
        if head == b"\x89HDF\r\n\x1a\n":
            return f"an HDF5 file with {_listed(_hdf5_names(path), 'data sets')}"
        if head.startswith(b"root"):
            return f"a ROOT file with {_listed(_root_names(path), 'trees')}"
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes the parsers raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"a truncated or damaged file ({reason})"
    return f"{path.stat().st_size} bytes starting with {head!r}"


def _hdf5_names(path: Path) -> list[str]:
    import h5py

    with h5py.File(path) as file:
        return [str(name) for name in file]


def _root_names(path: Path) -> list[str]:
    import uproot

    with uproot.open(path) as file:
        return [key for key, kind in file.classnames(cycle=False).items() if kind in ("TTree", "ROOT::RNTuple")]


def _listed(names: list[str], kind: str) -> str:
    if not names:
        return f"no {kind}"
    return f"the {kind} {', '.join(names[:_MAX_NAMES])}" + (" ..." if len(names) > _MAX_NAMES else "")
