"""What a file of jets holds, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.remedies import option
from jetgen.reading import open_jets, read_entries
from jetgen.selection import ReadOptions, kind_of, plan_reading

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Unpack

    from numpy.typing import NDArray

    from jetgen.jet_file import FileFormat, JetFile
    from jetgen.jets import Jets
    from jetgen.selection import ReadSettings

_SAMPLE: Final = 10_000
_MAX_PT_SUM: Final = 1.05


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Five numbers of a quantity over jets."""

    low: float
    median: float
    high: float
    mean: float
    std: float

    @staticmethod
    def of(values: NDArray[np.generic]) -> Spread:
        """Of an array of at least one number."""
        numbers = values.astype(np.float64)
        return Spread(
            low=float(numbers.min()),
            median=float(np.median(numbers)),
            high=float(numbers.max()),
            mean=float(numbers.mean()),
            std=float(numbers.std()),
        )


@dataclass(frozen=True, kw_only=True)
class FileSummary:
    """Summary of the selected jets of a file.

    Attributes:
        path: the file.
        format: its layout.
        n_entries: entries in the file.
        n_jets: jets that the selection leaves.
        n_sampled: jets that the numbers on constituents below are taken from, the first of them.
        kinds: number of jets of each label, empty if the file does not tell.
        n_slots: largest number of constituents of a jet.
        multiplicity: numbers of stored constituents.
        full: share of jets whose slots are all full.
        n_constituents_all: numbers of all constituents, or None if the file does not tell.
        ordered: whether all constituents stand in falling order of pT in the file.
        jet_pt_gev: pT of the jets, or None.
        jet_eta: their pseudorapidities, or None.
        jet_mass_gev: their masses, or None.
        units: units assumed for the energies in the file.
        pt_sum: sum of pT_rel of the stored constituents.
        mass_rel: mass of the stored massless constituents over the jets' pT.
        mass_ratio: `mass_rel` over mass / pT of the whole jet, or None.
        spread: pT-weighted mean distance of the constituents from the jet axis, in rad.
        weighted: whether the jets have weights.
        provenance: what the file says about its origin.
        notes: what the reader had to assume.
        warnings: what looks odd, though it can be read.
    """

    path: Path
    format: FileFormat
    n_entries: int
    n_jets: int
    n_sampled: int
    kinds: Mapping[str, int]
    n_slots: int
    multiplicity: Spread
    full: float
    n_constituents_all: Spread | None
    ordered: bool
    jet_pt_gev: Spread | None
    jet_eta: Spread | None
    jet_mass_gev: Spread | None
    units: Mapping[str, str]
    pt_sum: Spread
    mass_rel: Spread
    mass_ratio: Spread | None
    spread: Spread
    weighted: bool
    provenance: Mapping[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def describe_file(path: str | os.PathLike[str], **settings: Unpack[ReadSettings]) -> FileSummary:
    """Summarise a file of jets.

    Args:
        path: HDF5, ROOT or Parquet file.
        **settings: the keyword arguments of `read_jets`.

    Returns:
        Features of whole jets over all selected ones, numbers on constituents over at most the first 10 000 of them.

    Raises:
        DataError: as `read_jets`.
    """
    options = ReadOptions(**settings)
    with open_jets(path, options) as file:
        entries = plan_reading(file, options)
        kind = kind_of(file, options, entries)
        jets = read_entries(file, entries[:_SAMPLE], options, kind=kind)
        ordered = options.sort is False or _is_ordered(file, entries[:_SAMPLE])
    whole = {name: Spread.of(values[entries]) for name, values in file.features.items()}
    pt_sum = jets.pt_rel.sum(axis=1, dtype=np.float64)
    distance = np.hypot(jets.eta_rel, jets.phi_rel)
    ratio = None
    if jets.jet_pt_gev is not None and jets.jet_mass_gev is not None and (massive := jets.jet_mass_gev > 0).any():
        ratio = Spread.of(jets.mass_rel[massive] * jets.jet_pt_gev[massive] / jets.jet_mass_gev[massive])
    return FileSummary(
        path=file.path,
        format=file.format,
        n_entries=file.n,
        n_jets=len(entries),
        n_sampled=len(jets),
        kinds=_kinds(file, kind, entries),
        n_slots=jets.n_slots,
        multiplicity=Spread.of(jets.multiplicity),
        full=float(jets.mask.all(axis=1).mean()),
        n_constituents_all=whole.get("n_constituents_all"),
        ordered=ordered,
        jet_pt_gev=whole.get("jet_pt_gev"),
        jet_eta=whole.get("jet_eta"),
        jet_mass_gev=whole.get("jet_mass_gev"),
        units=file.units,
        pt_sum=Spread.of(pt_sum),
        mass_rel=Spread.of(jets.mass_rel),
        mass_ratio=ratio,
        spread=Spread.of((jets.pt_rel * distance).sum(axis=1, dtype=np.float64) / np.where(pt_sum > 0, pt_sum, 1.0)),
        weighted="weights" in file.features,
        provenance=jets.provenance,
        notes=file.notes,
        warnings=_warnings(jets, pt_sum, ordered=ordered, kinds=_kinds(file, kind, entries)),
    )


def _is_ordered(file: JetFile, entries: NDArray[np.int64]) -> bool:
    return read_entries(file, entries, ReadOptions(sort=False, drop_empty=True), check_units=False).is_ordered


def _kinds(file: JetFile, kind: str | None, entries: NDArray[np.int64]) -> dict[str, int]:
    if file.kinds is None:
        return {} if kind is None else {kind: len(entries)}
    names, counts = np.unique(file.kinds[entries], return_counts=True)
    return dict(zip(map(str, names), counts.tolist(), strict=True))


def _warnings(jets: Jets, pt_sum: NDArray[np.float64], *, ordered: bool, kinds: Mapping[str, int]) -> tuple[str, ...]:
    found = []
    if len(kinds) > 1:
        found.append(f"several kinds of jets ({', '.join(kinds)}): select one with {option('kind=...')}")
    if not ordered:
        found.append("constituents are not in falling order of pT in the file; they are put so on reading")
    if high := float(np.mean(pt_sum > _MAX_PT_SUM)):
        found.append(
            f"in {high:.1%} of the jets the pT of the constituents sum to more than {_MAX_PT_SUM} of the jet's"
        )
    if single := float(np.mean(jets.multiplicity == 1)):
        found.append(f"{single:.1%} of the jets have a single constituent, and so no mass")
    return tuple(found)
