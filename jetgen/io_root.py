"""Reader of ROOT trees of jets with jagged constituents, through uproot; see `jetgen.jagged` for the branches."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import uproot

from hepflows.errors import DataError
from hepflows.limits import require_plausible
from hepflows.reading import reading, require_numbers, require_shape
from hepflows.remedies import option
from jetgen.jagged import find_layout, jagged_file
from jetgen.jet_file import METADATA, Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import awkward as ak
    from numpy.typing import NDArray

    from jetgen.jet_file import JetFile


@contextlib.contextmanager
def open_root(
    path: Path,
    *,
    tree: str | None = None,
    branches: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> Iterator[JetFile]:
    """Open a ROOT file of jets.

    Args:
        path: an existing file.
        tree: name of the tree; None takes the only one that has constituents.
        branches: names of branches that differ from ``jet_pt``, ``part_pt`` and so on; an empty name leaves one out.
        units: units of jet_pt, jet_mass and part_pt, if they are not GeV.

    Raises:
        DataError: not ROOT, damaged, no such tree, a branch is missing, no entries.
        UnitsError: an unknown unit.
    """
    with contextlib.ExitStack() as stack:
        with reading(path, "ROOT structure"):
            file = stack.enter_context(uproot.open(path))
            trees = [key for key, kind in file.classnames(cycle=False).items() if kind == "TTree"]
            names = {key: tuple(map(str, file[key].keys())) for key in trees}
            text = str(file[METADATA]) if METADATA in file.keys(cycle=False) else None
        metadata = None if text is None else Metadata.from_json(text, path=path)
        key = _choose_tree(names, tree, branches, path)
        yield jagged_file(
            _Tree(file[key], path, key, names[key]), "root", metadata=metadata, branches=branches, units=units
        )


class _Tree:
    """A tree as a `jetgen.jagged.Source`."""

    def __init__(self, tree: Any, path: Path, key: str, names: tuple[str, ...]) -> None:
        self.tree, self.path, self.label, self.names = tree, path, f"{path}: {key}", names
        with reading(path, key):
            self.n = int(tree.num_entries)
        if self.n <= 0:
            raise DataError("the file holds no jets", where=self.label, remedy="check how it was made")
        require_plausible(4 * self.n, path, where=f"{self.label}, {self.n} entries")

    def column(self, name: str) -> NDArray[np.float64]:
        """A scalar branch, shape (n,)."""
        where = f"{self.label}/{name}"
        with reading(self.path, where.removeprefix(f"{self.path}: ")):
            values = np.asarray(self.tree[name].array(library="np"))
        require_shape(values.shape, (self.n,), where=where)
        return require_numbers(values, where=where)

    def lists(self, names: tuple[str, ...], start: int, stop: int) -> Mapping[str, ak.Array]:
        """Jagged branches for a range of entries."""
        with reading(self.path, f"{self.label.removeprefix(f'{self.path}: ')}, entries {start} to {stop}"):
            return {name: self.tree[name].array(entry_start=start, entry_stop=stop) for name in names}


def _choose_tree(
    names: Mapping[str, tuple[str, ...]], wanted: str | None, branches: Mapping[str, str] | None, path: Path
) -> str:
    if wanted is not None:
        if wanted not in names:
            raise DataError("no such tree", where=path, expected=", ".join(names) or "no trees", found=wanted)
        return wanted
    candidates = [key for key, columns in names.items() if find_layout(columns, branches)] or list(names)
    if not candidates:
        raise DataError("no tree in the file", where=path, expected="a TTree of jets")
    if len(candidates) > 1:
        raise DataError(
            "several trees could be meant", where=path, found=", ".join(candidates), remedy=f"pass {option('tree=...')}"
        )
    return candidates[0]
