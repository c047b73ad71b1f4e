"""What a file of showers holds, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calofast.reading import check_units, open_showers, read_entries
from calofast.selection import ReadOptions, plan_reading
from hepflows.remedies import option

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Unpack

    from calofast.geometry import Geometry
    from calofast.selection import ReadSettings
    from calofast.shower_file import FileFormat

_SAMPLE = 10_000
_SAMPLE_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class FileSummary:
    """Summary of the selected showers of a file.

    Attributes:
        path: the file.
        format: its layout.
        geometry: layers and voxel order.
        n_entries: entries in the file.
        n_showers: showers that the selection leaves.
        n_sampled: showers that the means below are taken from, the first of them.
        energy_range_gev: smallest and largest incident energy.
        units: units assumed for ``incident_energy`` and ``voxels``.
        e_tot_ratio_mean: mean of E_tot / E_inc.
        e_tot_ratio_median: its median.
        e_tot_ratio_std: its standard deviation.
        layer_fractions: share of each layer in all the energy deposited.
        occupancy: share of voxels with energy, layer by layer.
        overflow_fraction: energy outside of the voxels over all, or None if the file does not tell.
        pdg: number of showers of each particle, empty if the file does not tell.
        conditions: unit, smallest and largest value of each further condition.
        weighted: whether the showers have weights.
        provenance: what the file says about its origin.
        warnings: what looks odd, though it can be read.
    """

    path: Path
    format: FileFormat
    geometry: Geometry
    n_entries: int
    n_showers: int
    n_sampled: int
    energy_range_gev: tuple[float, float]
    units: Mapping[str, str]
    e_tot_ratio_mean: float
    e_tot_ratio_median: float
    e_tot_ratio_std: float
    layer_fractions: tuple[float, ...]
    occupancy: tuple[float, ...]
    overflow_fraction: float | None
    pdg: Mapping[int, int]
    conditions: Mapping[str, tuple[str, float, float]]
    weighted: bool
    provenance: Mapping[str, str]
    warnings: tuple[str, ...]


def describe_file(path: str | os.PathLike[str], **settings: Unpack[ReadSettings]) -> FileSummary:
    """Summarise a file of showers.

    Args:
        path: HDF5 or ROOT file.
        **settings: the keyword arguments of `read_showers`.

    Returns:
        Counts and ranges over all selected showers, means over at most the first 10 000 of them (fewer of
            many voxels).

    Raises:
        DataError: as `read_showers`.
    """
    options = ReadOptions(**settings)
    with open_showers(path, options) as file:
        plan = plan_reading(file, options)
        showers = read_entries(file, plan, plan.entries[: min(_SAMPLE, _SAMPLE_BYTES // (4 * file.geometry.n_voxels))])
        check_units(file, showers, options)
    energy = plan.energy_gev[plan.entries]
    ratio = showers.e_tot_mev / (1e3 * showers.incident_energy_gev.astype(np.float64))
    deposited = float(showers.e_tot_mev.sum())
    overflow = None if showers.overflow_mev is None else float(showers.overflow_mev.sum(dtype=np.float64))
    units = options.units or {}
    codes, counts = (
        (np.zeros(0, np.int64),) * 2 if file.pdg is None else np.unique(file.pdg[plan.entries], return_counts=True)
    )
    selected = {name: values[plan.entries] for name, values in file.conditions.items()}
    layers = [showers.voxels_mev[:, part] for part in file.geometry.layer_slices]
    return FileSummary(
        path=file.path,
        format=file.format,
        geometry=file.geometry,
        n_entries=len(file.incident_energy),
        n_showers=len(plan.entries),
        n_sampled=len(showers),
        energy_range_gev=(float(energy.min()), float(energy.max())),
        units={
            "incident_energy": units.get("incident_energy", file.energy_unit),
            "voxels": units.get("voxels", file.deposit_unit),
        },
        e_tot_ratio_mean=float(ratio.mean()),
        e_tot_ratio_median=float(np.median(ratio)),
        e_tot_ratio_std=float(ratio.std()),
        layer_fractions=tuple(float(layer.sum(dtype=np.float64)) / (deposited or 1.0) for layer in layers),
        occupancy=tuple(float(np.count_nonzero(layer)) / layer.size for layer in layers),
        overflow_fraction=None if overflow is None else overflow / ((overflow + deposited) or 1.0),
        pdg=dict(zip(codes.tolist(), counts.tolist(), strict=True)),
        conditions={
            name: (file.condition_units[name], float(values.min()), float(values.max()))
            for name, values in selected.items()
        },
        weighted=file.weights is not None,
        provenance=showers.provenance,
        warnings=_warnings(ratio, codes.tolist(), overflow, deposited),
    )


def _warnings(
    ratio: np.ndarray[tuple[int], np.dtype[np.float64]],
    codes: list[int],
    overflow: float | None,
    deposited: float,
) -> tuple[str, ...]:
    found = []
    if empty := float(np.mean(ratio == 0)):
        found.append(f"{empty:.1%} of the showers leave no energy in the voxels")
    if overflow is not None and overflow > 0.1 * (overflow + deposited):
        found.append(f"{overflow / (overflow + deposited):.1%} of the energy lies outside of the voxels")
    if len(codes) > 1:
        found.append(f"several particles (pdg {', '.join(map(str, codes))}): select one with {option('pdg=...')}")
    return tuple(found)
