"""Writers of tables with one list of constituents a jet, chunk by chunk: ROOT trees and Parquet files.

The lists ``part_ptrel``, ``part_etarel``, ``part_phirel`` always stand there, from which the jets come back exactly;
``part_pt`` (GeV), ``part_eta``, ``part_phi`` and ``part_mass`` (0) where pT and pseudorapidity of the jets are known.
An unknown azimuth of the jets is taken as 0. The names are those that `jetgen.jagged` reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import awkward as ak
import numpy as np
import uproot

from hepflows.parquet import pyarrow_parquet
from jetgen.jet_file import METADATA, Metadata
from jetgen.kinematics import four_momenta

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from jetgen.jets import Jets

TREE: Final = "Jets"


def write_root(chunks: Iterable[Jets], path: Path) -> None:
    """Write a tree with scalar branches and jagged ones that share the counter ``npart``."""
    with uproot.recreate(path) as file:
        tree = None
        for chunk in chunks:
            scalars, lists = _columns(chunk)
            if tree is None:
                fields = ", ".join(f"{name}: float32" for name in lists)
                types = {name: values.dtype for name, values in scalars.items()}
                tree = file.mktree(TREE, types | {"part": f"var * {{{fields}}}"})
                file[METADATA] = Metadata.of(chunk).to_json()
            tree.extend(scalars | {"part": ak.zip({name: _jagged(chunk, values) for name, values in lists.items()})})


def write_parquet(chunks: Iterable[Jets], path: Path) -> None:
    """Write a Parquet file, one row group a chunk.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    parquet = pyarrow_parquet()
    writer = None
    try:
        for chunk in chunks:
            scalars, lists = _columns(chunk)
            counts: dict[str, Any] = {"npart": chunk.multiplicity.astype(np.int32)}
            columns = {f"part_{name}": _jagged(chunk, values) for name, values in lists.items()}
            table = ak.to_arrow_table(ak.Array(scalars | counts | columns), extensionarray=False)
            if writer is None:
                description = {METADATA.encode(): Metadata.of(chunk).to_json().encode()}
                writer = parquet.ParquetWriter(path, table.schema.with_metadata(description))
            writer.write_table(table.replace_schema_metadata(writer.schema.metadata))
    finally:
        if writer is not None:
            writer.close()


def _columns(jets: Jets) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.float32]]]:
    """Scalars by their names, and arrays (N, P) by the names of the lists without ``part_``."""
    scalars: dict[str, NDArray[Any]] = {}
    lists = {"ptrel": jets.pt_rel, "etarel": jets.eta_rel, "phirel": jets.phi_rel}
    known = {"jet_pt": jets.jet_pt_gev, "jet_eta": jets.jet_eta, "jet_phi": jets.jet_phi, "jet_mass": jets.jet_mass_gev}
    scalars |= {name: values for name, values in known.items() if values is not None}
    if jets.jet_pt_gev is not None and jets.jet_eta is not None:
        momenta = four_momenta(jets)
        scalars.setdefault("jet_phi", np.zeros(len(jets), dtype=np.float32))
        absolute = {"pt": momenta.pt, "eta": momenta.eta, "phi": momenta.phi, "mass": momenta.mass}
        lists = {name: np.asarray(values, dtype=np.float32) for name, values in absolute.items()} | lists
    if jets.n_constituents_all is not None:
        scalars["jet_nall"] = jets.n_constituents_all.astype(np.int32)
    per_jet = {"weights": jets.weights, "mass_condition": jets.mass_condition}
    scalars |= {name: values for name, values in per_jet.items() if values is not None}
    return scalars, lists


def _jagged(jets: Jets, values: NDArray[np.float32]) -> Any:
    return ak.unflatten(values[jets.mask], jets.multiplicity)
