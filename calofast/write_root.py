"""Writer of ROOT trees with one branch a cell, for any geometry, chunk by chunk.

Branches ``cell_0`` ... ``cell_<V-1>`` and, if known, L more for the overflow (MeV), ``TotalEnergy`` (GeV),
``pdg``, ``weights`` and the conditions. uproot's time for a tree grows with the square of its branches, five
minutes for 6480; beyond 1000 cells they therefore stand in one branch ``cells`` of fixed length. The object
``hepflows`` holds a JSON text with geometry, units and provenance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import uproot

from calofast.shower_file import METADATA, Metadata
from hepflows.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from calofast.showers import Showers

TREE = "fancy_tree"  # the name in the CaloGAN files
MAX_CELL_BRANCHES = 1000
_RESERVED = {"TotalEnergy", "weights", "cells", METADATA}


def write_root_cells(chunks: Iterable[Showers], path: Path) -> None:
    """Write showers as a flat-cell tree.

    Raises:
        DataError: a condition has the name of another branch.
    """
    with uproot.recreate(path) as file:
        tree = None
        for chunk in chunks:
            branches = _branches(chunk)
            if tree is None:
                tree = file.mktree(
                    TREE,
                    {name: np.dtype((values.dtype, values.shape[1:])) for name, values in branches.items()},
                )
                file[METADATA] = Metadata.of(chunk).to_json()
            tree.extend(branches)


def _branches(chunk: Showers) -> dict[str, Any]:
    cells = chunk.voxels_mev if chunk.overflow_mev is None else np.hstack([chunk.voxels_mev, chunk.overflow_mev])
    branches: dict[str, Any] = {"cells": cells}
    if cells.shape[1] <= MAX_CELL_BRANCHES:
        branches = {f"cell_{i}": column for i, column in enumerate(np.ascontiguousarray(cells.T))}
    branches["TotalEnergy"] = chunk.incident_energy_gev
    if chunk.pdg is not None:
        branches["pdg"] = np.full(len(chunk), chunk.pdg, dtype=np.int32)
    if chunk.weights is not None:
        branches["weights"] = chunk.weights
    for name, values in chunk.conditions.items():
        if name in branches or name in _RESERVED:
            raise DataError("a condition has the name of another branch", where=f"conditions[{name!r}]")
        branches[name] = values
    return branches
