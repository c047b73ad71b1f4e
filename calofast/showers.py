"""The frozen container of calorimeter showers, the currency of this package."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError, GeometryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from calofast.streamed import StreamedShowers


@dataclass(frozen=True, kw_only=True, eq=False)
class Showers:
    """N showers in a calorimeter of V voxels and L layers.

    Attributes:
        geometry: layers and voxel order.
        incident_energy_gev: energy of the incoming particle, shape (N,), float32, positive.
        voxels_mev: deposited energy, shape (N, V), float32, C-contiguous, not negative.
        overflow_mev: energy outside the voxels, layer by layer, shape (N, L), float32, or None if unknown.
        pdg: code of the incoming particle, or None if unknown or mixed.
        conditions: further scalars by name, each of shape (N,), float32; the names carry
            the unit (``theta_rad``).
        condition_units: unit of each condition, empty text for dimensionless ones.
        weights: weight of each shower, shape (N,), float32, or None if all are 1.
        provenance: where the showers come from, free texts.

    Raises:
        DataError: wrong shape, values that are not finite, negative energies; the message names the entry.
    """

    geometry: Geometry
    incident_energy_gev: NDArray[np.float32]
    voxels_mev: NDArray[np.float32]
    overflow_mev: NDArray[np.float32] | None = None
    pdg: int | None = None
    conditions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    condition_units: Mapping[str, str] = field(default_factory=dict)
    weights: NDArray[np.float32] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        energy = _float32(self.incident_energy_gev, "incident_energy_gev")
        if energy.ndim != 1:
            raise DataError("wrong shape", where="incident_energy_gev", expected="(N,)", found=energy.shape)
        n = len(energy)
        _check_values(energy, "incident_energy_gev", positive=True)
        object.__setattr__(self, "incident_energy_gev", energy)

        voxels = _float32(self.voxels_mev, "voxels_mev")
        _check_shape(voxels, (n, self.geometry.n_voxels), "voxels_mev", self.geometry)
        _check_values(voxels, "voxels_mev", geometry=self.geometry)
        object.__setattr__(self, "voxels_mev", voxels)

        if self.overflow_mev is not None:
            overflow = _float32(self.overflow_mev, "overflow_mev")
            _check_shape(overflow, (n, self.geometry.n_layers), "overflow_mev", self.geometry)
            _check_values(overflow, "overflow_mev")
            object.__setattr__(self, "overflow_mev", overflow)
        if self.weights is not None:
            weights = _float32(self.weights, "weights")
            _check_shape(weights, (n,), "weights")
            _check_values(weights, "weights", signed=True)
            object.__setattr__(self, "weights", weights)
        conditions = {}
        for name, values in self.conditions.items():
            conditions[name] = _float32(values, name)
            _check_shape(conditions[name], (n,), f"conditions[{name!r}]")
            _check_values(conditions[name], f"conditions[{name!r}]", signed=True)
        object.__setattr__(self, "conditions", conditions)
        if unknown := sorted(set(self.condition_units) - set(conditions)):
            raise DataError("a unit is given for an unknown condition", where=f"condition_units[{unknown[0]!r}]")
        object.__setattr__(
            self,
            "condition_units",
            {name: self.condition_units.get(name, unit_of(name)) for name in conditions},
        )
        object.__setattr__(self, "provenance", dict(self.provenance))

    def __len__(self) -> int:
        return len(self.incident_energy_gev)

    @property
    def e_tot_mev(self) -> NDArray[np.float64]:
        """Sum of the voxels, without overflow, in double precision, shape (N,)."""
        return np.asarray(self.voxels_mev.sum(axis=1, dtype=np.float64))

    @property
    def layer_energies_mev(self) -> NDArray[np.float64]:
        """Sum of each layer's voxels in double precision, shape (N, L)."""
        sums = [self.voxels_mev[:, part].sum(axis=1, dtype=np.float64) for part in self.geometry.layer_slices]
        return np.stack(sums, axis=1)

    def select(self, index: slice | NDArray[np.bool_] | NDArray[np.integer] | Sequence[int]) -> Showers:
        """The showers that a slice, a mask of shape (N,) or a list of entries picks, in that order."""
        chosen = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(chosen, np.ndarray):
            if chosen.dtype == np.bool_ and chosen.shape != (len(self),):
                raise DataError("wrong shape of a selection", expected=(len(self),), found=chosen.shape)
            if chosen.size == 0 and chosen.dtype != np.bool_:
                chosen = chosen.astype(np.int64)
        return replace(
            self,
            incident_energy_gev=self.incident_energy_gev[chosen],
            voxels_mev=self.voxels_mev[chosen],
            overflow_mev=None if self.overflow_mev is None else self.overflow_mev[chosen],
            conditions={name: values[chosen] for name, values in self.conditions.items()},
            weights=None if self.weights is None else self.weights[chosen],
        )

    def split(self, fraction: float, *, seed: int) -> tuple[Showers, Showers]:
        """Divide at random: ``round(fraction * N)`` showers and the rest, each in the original order.

        Raises:
            DataError: `fraction` is not in (0, 1), or one part would be empty.
        """
        n_first = round(fraction * len(self)) if 0.0 < fraction < 1.0 else 0
        if not 0 < n_first < len(self):
            raise DataError(
                "a split must leave showers in both parts",
                expected="a fraction between 0 and 1",
                found=f"fraction {fraction} of {len(self)} showers",
            )
        order = np.random.default_rng(seed).permutation(len(self))
        return self.select(np.sort(order[:n_first])), self.select(np.sort(order[n_first:]))

    def with_threshold(self, threshold_mev: float) -> Showers:
        """The same showers with every voxel below `threshold_mev` set to zero (overflow untouched)."""
        voxels = self.voxels_mev
        return replace(self, voxels_mev=np.where(voxels < np.float32(threshold_mev), np.float32(0.0), voxels))

    @staticmethod
    def concatenate(parts: Sequence[Showers]) -> Showers:
        """Put showers one after the other.

        Overflow, weights and conditions must be present in all parts or in none. `pdg` becomes None if the
        parts differ, the provenance is the first part's.

        Raises:
            DataError: no parts, or parts that do not fit together.
        """
        if not parts:
            raise DataError("no showers to concatenate", remedy="give at least one")
        head = parts[0]
        for index, part in enumerate(parts[1:], start=1):
            require_same_kind(head, part, where=f"part {index}")
        overflow = [part.overflow_mev for part in parts if part.overflow_mev is not None]
        weights = [part.weights for part in parts if part.weights is not None]
        return replace(
            head,
            incident_energy_gev=np.concatenate([part.incident_energy_gev for part in parts]),
            voxels_mev=np.concatenate([part.voxels_mev for part in parts]),
            overflow_mev=np.concatenate(overflow) if overflow else None,
            pdg=head.pdg if all(part.pdg == head.pdg for part in parts) else None,
            conditions={name: np.concatenate([part.conditions[name] for part in parts]) for name in head.conditions},
            weights=np.concatenate(weights) if weights else None,
        )


SUFFIXES = ("rad", "deg", "mm", "cm", "mev", "gev", "tev", "ns", "ps")
_SPELLING = {"mev": "MeV", "gev": "GeV", "tev": "TeV"}


def unit_of(condition: str) -> str:
    """Unit that a condition's name carries: ``rad`` for ``theta_rad``, empty if it carries none."""
    suffix = condition.rpartition("_")[2] if "_" in condition else ""
    return _SPELLING.get(suffix, suffix) if suffix in SUFFIXES else ""


def require_cells(geometry: Geometry, showers: Showers | StreamedShowers) -> None:
    """Raise `GeometryError` unless the showers have the cells of a generator's geometry."""
    if not geometry.same_cells(showers.geometry):
        raise GeometryError(
            "the showers belong to another geometry",
            where=showers.provenance.get("file"),
            expected=f"{geometry.name} ({geometry.n_voxels} voxels)",
            found=f"{showers.geometry.name} ({showers.geometry.n_voxels} voxels)",
            remedy="use the data that the generator was made for",
        )


def require_same_kind(head: Showers, part: Showers, *, where: str) -> None:
    """Raise `DataError` unless `part` has the geometry, overflow, weights and conditions of `head`."""
    if not head.geometry.same_cells(part.geometry):
        raise GeometryError(
            "showers of different geometries",
            where=where,
            expected=head.geometry.name,
            found=part.geometry.name,
        )
    for name in ("overflow_mev", "weights"):
        if (getattr(head, name) is None) != (getattr(part, name) is None):
            raise DataError(f"{name} is given for some showers only", where=where)
    if dict(head.condition_units) != dict(part.condition_units):
        raise DataError(
            "showers with different conditions",
            where=where,
            expected=sorted(head.condition_units.items()),
            found=sorted(part.condition_units.items()),
        )


def _float32(values: object, where: str) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused with its place
            return np.ascontiguousarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError("not an array of numbers", where=where, found=str(error)) from None


def _check_shape(
    values: NDArray[np.float32], expected: tuple[int, ...], where: str, geometry: Geometry | None = None
) -> None:
    if values.shape == expected:
        return
    kind = DataError if geometry is None or values.ndim != len(expected) else GeometryError
    wanted = str(expected) if geometry is None else f"{expected} for the geometry {geometry.name}"
    raise kind("wrong shape", where=where, expected=wanted, found=values.shape)


def _check_values(
    values: NDArray[np.float32],
    where: str,
    *,
    geometry: Geometry | None = None,
    positive: bool = False,
    signed: bool = False,
) -> None:
    if values.size == 0:
        return
    low, high = values.min(), values.max()  # NaN propagates, so that two passes suffice
    if np.isfinite(low) and np.isfinite(high) and (signed or low > 0 or (low == 0 and not positive)):
        return
    bad = ~np.isfinite(values)
    if not signed:
        bad |= values <= 0 if positive else values < 0
    entry, *rest = np.argwhere(bad)[0].tolist()
    cell = "".join(f", column {i}" for i in rest)
    if geometry is not None:
        cell = f", {geometry.voxel_label(rest[0])}"
    value = float(values[(entry, *rest)])
    what = "energy must be positive" if positive else "negative energy"
    raise DataError(
        what if np.isfinite(value) else "value is not finite",
        where=f"{where}, entry {entry}{cell}",
        found=f"{value:g} ({int(bad.sum())} such value(s))",
        remedy="remove or repair these showers",
    )
