"""What every file format is turned into before jets are selected from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from hepflows.errors import DataError
from hepflows.plain_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from jetgen.jets import Jets

FileFormat = Literal["jetnet", "root", "parquet"]
METADATA = "hepflows"  # name of the HDF5 data set, ROOT object or Parquet column holding the JSON below
FEATURES = ("jet_pt_gev", "jet_eta", "jet_phi", "jet_mass_gev", "n_constituents_all", "weights", "mass_condition")
SCHEMA = "hepflows-jets/1"


class Block(NamedTuple):
    """Constituents of m entries as the file has them, not yet checked; shapes (m, P)."""

    eta_rel: NDArray[np.floating]
    phi_rel: NDArray[np.floating]
    pt_rel: NDArray[np.floating]
    mask: NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class JetFile:
    """An open file of n entries; features of whole jets are in memory, constituents are read in blocks.

    Attributes:
        path: the file.
        format: its layout.
        n: number of entries.
        n_slots: P, the largest number of constituents of an entry.
        units: unit assumed for each energy that the file holds, by the names of the option ``units``.
        features: arrays of shape (n,) by the names of the fields of `Jets`, in GeV and rad; those the file tells.
        read_block: from first entry and the one after the last to their constituents.
        kinds: label of each entry, shape (n,), or None if the file does not tell them one by one.
        kind: label of all entries, or None.
        provenance: what the file says about its origin.
        notes: what the reader had to assume.
    """

    path: Path
    format: FileFormat
    n: int
    n_slots: int
    units: Mapping[str, str]
    features: Mapping[str, NDArray[np.float64]]
    read_block: Callable[[int, int], Block]
    kinds: NDArray[np.str_] | None = None
    kind: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What this package stores beside the arrays, so that a reader restores everything.

    Attributes:
        kind: label of the jets.
        n_slots: P, empty slots included.
        known: features that are data; others stand in the file only because its layout has a place for them.
        provenance: where the jets come from.
    """

    kind: str | None
    n_slots: int
    known: tuple[str, ...]
    provenance: Mapping[str, str]

    @staticmethod
    def of(jets: Jets) -> Metadata:
        """Metadata of jets about to be written."""
        known = tuple(name for name in FEATURES if getattr(jets, name) is not None)
        return Metadata(kind=jets.kind, n_slots=jets.n_slots, known=known, provenance=jets.provenance)

    def to_json(self) -> str:
        """JSON text, the inverse of `from_json`."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "kind": self.kind,
                "n_slots": self.n_slots,
                "known": list(self.known),
                # readers tell the file's own name
                "provenance": {key: text for key, text in self.provenance.items() if key != "file"},
            }
        )

    @staticmethod
    def from_json(text: str, *, path: Path) -> Metadata:
        """Parse what `to_json` wrote.

        Raises:
            DataError: the text is damaged or of another schema.
        """
        where = f"{path}: {METADATA}"
        try:
            document = parse_json(text)
            if (schema := document["schema"]) != SCHEMA:
                raise DataError("written by another version", where=where, expected=SCHEMA, found=schema)
            kind, n_slots = document["kind"], int(document["n_slots"])
            known = tuple(map(str, document["known"]))
            provenance = {str(key): str(value) for key, value in document["provenance"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError("the stored description is damaged", where=where, found=str(error)) from None
        return Metadata(kind=None if kind is None else str(kind), n_slots=n_slots, known=known, provenance=provenance)
