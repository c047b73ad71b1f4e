"""Telling shower files and geometries by a quick look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from calofast.geometry import calochallenge, calogan, calogan_hits
from calofast.shower_file import SCHEMA
from hepflows.errors import GeometryError
from hepflows.parquet import MAGIC, stored_schema

if TYPE_CHECKING:
    from calofast.geometry import Geometry

_HDF5_SETS: Final = ("layer_0", "showers", "incident_energies")
_ROOT_BRANCHES: Final = ("cell_0", "hit_energy", "incident_energy", "TotalEnergy")
_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"


def is_shower_file(path: Path) -> bool:
    """Whether a file has a data set or branch that only shower files have; damaged ones count as no."""
    with Path(path).open("rb") as handle:
        head = handle.read(8)
    try:
        if head == _HDF5_MAGIC:
            import h5py

            with h5py.File(path) as file:
                return not set(file).isdisjoint(_HDF5_SETS)  # does not follow links
        if head.startswith(b"root"):
            import uproot

            with uproot.open(path) as file:
                trees = file.values(filter_classname="TTree", recursive=False)
                return any(name in tree for tree in trees for name in _ROOT_BRANCHES)
    except Exception:  # noqa: BLE001 - whatever a damaged file makes the parsers raise
        return False
    return head.startswith(MAGIC) and stored_schema(Path(path)) == SCHEMA


def named_geometry(name: str) -> Geometry:
    """A built-in geometry by its name in configuration files.

    Raises:
        GeometryError: there is none of this name.
    """
    if name == "calogan":
        return calogan()
    if name == "calogan_hits":
        return calogan_hits()
    challenge = name.removeprefix("calochallenge_")
    if challenge in ("photons", "pions", "dataset_2", "dataset_3"):
        return calochallenge(challenge)  # type: ignore[arg-type]  # mypy does not narrow by `in`
    raise GeometryError(
        "unknown geometry",
        expected="calogan, calogan_hits, calochallenge_photons, calochallenge_pions, calochallenge_dataset_2 "
        "or calochallenge_dataset_3",
        found=repr(name),
    )
