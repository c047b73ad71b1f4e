"""Telling jet files by a quick look."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hepflows.parquet import MAGIC, is_flat, stored_schema
from jetgen.jet_file import SCHEMA

_ROOT_BRANCHES: Final = ("part_pt", "part_px", "part_ptrel", "jet_pt")


def is_jet_file(path: Path) -> bool:
    """Whether a file has a data set or branch that only jet files have; damaged ones count as no."""
    with Path(path).open("rb") as handle:
        head = handle.read(8)
    try:
        if head == b"\x89HDF\r\n\x1a\n":
            import h5py

            with h5py.File(path) as file:
                return "particle_features" in set(file)  # does not follow links
        if head.startswith(b"root"):
            import uproot

            with uproot.open(path) as file:
                trees = file.values(filter_classname="TTree", recursive=False)
                return any(name in tree for tree in trees for name in _ROOT_BRANCHES)
    except Exception:  # noqa: BLE001 - whatever a damaged file makes the parsers raise
        return False
    if not head.startswith(MAGIC):
        return False
    # branches may have any name, but constituents are lists, and a file that this project wrote says what it is
    schema = stored_schema(Path(path))
    return schema == SCHEMA or (schema is None and not is_flat(Path(path)))
