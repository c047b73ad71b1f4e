"""Showers of which only the observables are kept, for files larger than memory.

`measure_showers` goes once over chunks and keeps float32 columns, 4 bytes an observable and shower, instead of voxels.
What needs all voxels at once is left out: their spectra, single showers as pictures, classifiers that see voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from calofast.observables import ShowerDomain
from calofast.shower_observables import event_observables
from calofast.shower_profiles import profile_observables, radial_profile
from calofast.showers import Showers
from hepflows.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from hepflows.observable import Observable


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredShowers:
    """Observables of N showers with the hit threshold applied.

    Attributes:
        geometry: L layers, V voxels.
        threshold_mev: the hit threshold.
        incident_energy_gev: (N,).
        columns: observables in the order of `observable_heads`, (N, K).
        layers_mev: energies in layers (N, L).
        radial_mev: energies in the radial bins of `calofast.shower_profiles` (N, R).
        mean_mev: mean energy of each voxel over all showers (V,), weights respected; None for a selection.
        pdg: code of the particle, or None if unknown or mixed.
        conditions: further scalars by name (N,).
        weights: (N,), or None.
        provenance: where the showers come from.
    """

    geometry: Geometry
    threshold_mev: float
    incident_energy_gev: NDArray[np.float32]
    columns: NDArray[np.float32]
    layers_mev: NDArray[np.float32]
    radial_mev: NDArray[np.float32]
    mean_mev: NDArray[np.float64] | None
    pdg: int | None = None
    conditions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    weights: NDArray[np.float32] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.incident_energy_gev)

    def select(self, index: NDArray[np.int64]) -> MeasuredShowers:
        """The showers at these positions, in this order, without the mean picture."""
        return replace(
            self,
            incident_energy_gev=self.incident_energy_gev[index],
            columns=self.columns[index],
            layers_mev=self.layers_mev[index],
            radial_mev=self.radial_mev[index],
            mean_mev=None,
            conditions={name: values[index] for name, values in self.conditions.items()},
            weights=None if self.weights is None else self.weights[index],
        )

    def observables(self) -> tuple[Observable, ...]:
        """What `ShowerDomain.observables` gives, in single precision and without spectra of voxels."""
        heads = observable_heads(self.geometry)
        return tuple(replace(head, values=self.columns[:, k]) for k, head in enumerate(heads))

    def event_observables(self) -> tuple[Observable, ...]:
        """Those that the classifier's ``high`` inputs are made of."""
        return self.observables()[: len(event_observables(_one_dark(self.geometry)))]


def observable_heads(geometry: Geometry) -> tuple[Observable, ...]:
    """Names, labels, units and edges of the columns, in their order; with the values of one dark shower."""
    dark = _one_dark(geometry)
    return (*event_observables(dark), *profile_observables(dark))


def measure_showers(chunks: Iterable[Showers], *, threshold_mev: float | None = None) -> MeasuredShowers:
    """Measure showers chunk by chunk; memory is that of one chunk and of the columns.

    Args:
        chunks: of one geometry, from `calofast.iterate_showers` for example.
        threshold_mev: voxels below are zeroed first; None takes the published value of the geometry.

    Raises:
        ConfigError: the threshold is negative or not finite.
        DataError: no showers, or chunks that do not fit together.
    """
    domain = ShowerDomain(threshold_mev=threshold_mev)
    parts: list[MeasuredShowers] = []
    voxel_sum, weight_sum = np.zeros(0), 0.0
    for chunk in chunks:
        measured = _measure(chunk, domain.threshold(chunk.geometry))
        if parts:
            _require_same(parts[0], measured, len(parts))
        else:
            voxel_sum = np.zeros(chunk.geometry.n_voxels)
        weights = np.ones(len(chunk)) if chunk.weights is None else chunk.weights.astype(np.float64)
        if measured.mean_mev is not None:
            voxel_sum += measured.mean_mev
        weight_sum += float(weights.sum())
        parts.append(replace(measured, mean_mev=None))
    if not parts:
        raise DataError("no showers", expected="at least one shower")
    head = parts[0]
    return replace(
        head,
        incident_energy_gev=np.concatenate([part.incident_energy_gev for part in parts]),
        columns=np.concatenate([part.columns for part in parts]),
        layers_mev=np.concatenate([part.layers_mev for part in parts]),
        radial_mev=np.concatenate([part.radial_mev for part in parts]),
        mean_mev=voxel_sum / weight_sum if weight_sum else voxel_sum,
        pdg=head.pdg if all(part.pdg == head.pdg for part in parts) else None,
        conditions={name: np.concatenate([part.conditions[name] for part in parts]) for name in head.conditions},
        weights=None
        if head.weights is None
        else np.concatenate([part.weights for part in parts if part.weights is not None]),
    )


def _measure(chunk: Showers, threshold_mev: float) -> MeasuredShowers:
    """One chunk; `mean_mev` holds the weighted sum."""
    showers = chunk.with_threshold(threshold_mev)
    columns = [observable.values for observable in (*event_observables(showers), *profile_observables(showers))]
    weights = np.ones(len(showers)) if showers.weights is None else showers.weights.astype(np.float64)
    return MeasuredShowers(
        geometry=showers.geometry,
        threshold_mev=threshold_mev,
        incident_energy_gev=showers.incident_energy_gev,
        columns=np.stack([np.asarray(values, np.float32) for values in columns], axis=1),
        layers_mev=showers.layer_energies_mev.astype(np.float32),
        radial_mev=radial_profile(showers).energies_mev,
        mean_mev=np.einsum("n,nv->v", weights, showers.voxels_mev),
        pdg=showers.pdg,
        conditions=showers.conditions,
        weights=showers.weights,
        provenance=showers.provenance,
    )


def _require_same(head: MeasuredShowers, part: MeasuredShowers, number: int) -> None:
    same = (
        head.geometry.same_cells(part.geometry)
        and set(head.conditions) == set(part.conditions)
        and (head.weights is None) == (part.weights is None)
    )
    if not same:
        raise DataError(
            "chunks of showers do not fit together",
            where=f"chunk {number}",
            expected="geometry, conditions and weights of the first chunk",
            found=f"{part.geometry.name}, {', '.join(sorted(part.conditions)) or 'no conditions'}",
            remedy="measure files of different kinds one by one",
        )


def _one_dark(geometry: Geometry) -> Showers:
    voxels = np.zeros((1, geometry.n_voxels), np.float32)
    return Showers(geometry=geometry, incident_energy_gev=np.ones(1, np.float32), voxels_mev=voxels)
