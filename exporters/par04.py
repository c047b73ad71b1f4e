"""The encoding of Geant4's example Par04: how its host asks for a shower, and how it reads one.

The host sends one row a shower: Z normal numbers, the energy over a largest energy, the angle over 90 degrees, and
one number a detector geometry. It multiplies what it gets by the energy, cell by cell of one regular cylindrical mesh,
z running fastest, then phi, then r. numpy only, so that clients without torch can speak it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hepflows.errors import ArtefactError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from exporters.exportable import Condition

MAX_ENERGY_GEV: Final = 1024.0
"""Par04's own `fMaxEnergy`, not to be set by its macros."""
_MAX_ANGLE_DEG: Final = 90.0
_GEOMETRIES: Final = 2
_ANGLES: Final = {"rad": math.radians(_MAX_ANGLE_DEG), "deg": _MAX_ANGLE_DEG}
_MEV_PER_GEV: Final = 1000.0
_TOLERANCE: Final = 1e-3  # of a mesh's steps, relative: edges are written with few digits


@dataclass(frozen=True, kw_only=True)
class Par04Encoding:
    """Columns of the condition and cells of the mesh.

    Attributes:
        max_energy_gev: energy that the first column counts in.
        theta_max: the second column is the angle over this, in the unit of the generator's condition; 0 if the
            generator has no angle, and the column is not used.
        theta_range: valid angles, in that unit.
        energy_range_gev: valid energies.
        mesh: cells in r, phi and z.
        cell_size: size of a cell in r [mm], phi [rad] and z [mm, None where the geometry does not tell].
    """

    max_energy_gev: float
    theta_max: float
    theta_range: tuple[float, float]
    energy_range_gev: tuple[float, float]
    mesh: tuple[int, int, int]
    cell_size: tuple[float, float, float | None]

    @classmethod
    def of(
        cls, conditions: Sequence[Condition], geometry: object, *, max_energy_gev: float = MAX_ENERGY_GEV
    ) -> Par04Encoding:
        """Encoding for a generator of showers.

        Raises:
            ConfigError: its cells are no regular cylindrical mesh, or it has conditions that Par04 does not send.
        """
        energy, *others = conditions or (None,)
        angles = [condition for condition in others if condition is not None]
        if (
            energy is None
            or energy.unit != "GeV"
            or len(angles) > 1
            or any(not angle.name.startswith("theta") or angle.unit not in _ANGLES for angle in angles)
        ):
            raise ConfigError(
                "Par04 sends an energy and an angle theta, no other conditions",
                where="profile par04",
                expected="conditions incident_energy_gev and, at most, theta_rad or theta_deg",
                found=", ".join(condition.name for condition in conditions) or "none",
                remedy="export with the profile generic",
            )
        if energy.low <= 0:
            raise ConfigError(
                "a fraction of no energy does not exist",
                where="profile par04",
                expected="a valid range of energies above 0",
                found=f"{energy.low:g} ... {energy.high:g} GeV",
                remedy="train on energies above 0, or export with the profile generic",
            )
        if not (math.isfinite(max_energy_gev) and max_energy_gev > 0):
            raise ConfigError("the largest energy must be positive", where="max_energy_gev", found=max_energy_gev)
        mesh, cell_size = _mesh(geometry)
        angle = angles[0] if angles else None
        return cls(
            max_energy_gev=float(max_energy_gev),
            theta_max=0.0 if angle is None else _ANGLES[angle.unit],
            theta_range=(0.0, 0.0) if angle is None else (angle.low, angle.high),
            energy_range_gev=(energy.low, energy.high),
            mesh=mesh,
            cell_size=cell_size,
        )

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Par04Encoding:
        """Inverse of `to_dict`.

        Raises:
            ArtefactError: entries are missing or unknown.
        """
        try:
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()
            }
            return cls(**values)
        except (TypeError, AttributeError) as error:  # no table at all, or not these entries
            raise ArtefactError(
                "the encoding of the profile par04 is damaged",
                found=str(error),
                remedy="use a file written by `hepflows export`",
            ) from error

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns of the condition are."""
        theta = "theta / 90 degrees" if self.theta_max else "not used (theta)"
        return (f"energy / {self.max_energy_gev:g} GeV", theta, *["not used (geometry)"] * _GEOMETRIES)

    def columns(self, conditions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Columns (N, 4) of the condition from physical conditions (N, C)."""
        columns = np.zeros((len(conditions), 2 + _GEOMETRIES), dtype=np.float32)
        columns[:, 0] = conditions[:, 0] / self.max_energy_gev
        if self.theta_max:
            columns[:, 1] = conditions[:, 1] / self.theta_max
        columns[:, -1] = 1
        return columns

    def voxels_mev(self, fractions: NDArray[np.float32], conditions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Energies (N, V) in the order of the geometry from fractions (N, V) in the order of the mesh."""
        n_r, n_phi, n_z = self.mesh
        cells = fractions.reshape(-1, n_r, n_phi, n_z).transpose(0, 3, 2, 1).reshape(len(fractions), -1)
        energy: NDArray[np.float32] = np.clip(conditions[:, :1], *self.energy_range_gev).astype(np.float32)
        return np.ascontiguousarray(cells * (energy * np.float32(_MEV_PER_GEV)))


def _mesh(geometry: object) -> tuple[tuple[int, int, int], tuple[float, float, float | None]]:
    """Cells and their sizes of a geometry's JSON form that is one regular cylindrical mesh."""
    layers = geometry.get("layers") if isinstance(geometry, dict) else None
    if not isinstance(layers, list) or not layers:
        raise _no_mesh("no layers")
    first = layers[0]
    if not all(isinstance(layer, dict) and {"r_edges_mm", "n_alpha"} <= set(layer) for layer in layers):
        raise _no_mesh("layers without radii and angles")
    for layer in layers:
        if layer.get("kind") != "cylindrical":
            raise _no_mesh(f"{layer.get('name')} is {layer.get('kind')}")
        if layer.get("n_alpha") != first["n_alpha"] or not _alike(layer["r_edges_mm"], first["r_edges_mm"]):
            raise _no_mesh(f"{layer.get('name')} has other cells than {first.get('name')}")
    edges = np.asarray(first["r_edges_mm"], dtype=float)
    if edges[0] != 0 or not _regular(edges):
        raise _no_mesh(f"edges in r {edges.tolist()} are not regular from 0 on")
    depths = [layer.get("z_mm") for layer in layers]
    size_z = None
    if any(depth is None for depth in depths) and any(depth is not None for depth in depths):
        raise _no_mesh("the depth of some layers only is known")
    if None not in depths:
        faces = np.asarray(depths, dtype=float)
        planes = np.append(faces[:, 0], faces[-1, 1])
        if not _regular(planes) or not np.allclose(faces[1:, 0], faces[:-1, 1]):
            raise _no_mesh("the layers are not equally deep or leave gaps")
        size_z = float((planes[-1] - planes[0]) / len(layers))
    n_r, n_phi = len(edges) - 1, int(first["n_alpha"])
    return (n_r, n_phi, len(layers)), (float(edges[-1] / n_r), 2 * math.pi / n_phi, size_z)


def _regular(edges: NDArray[np.float64]) -> bool:
    steps = np.diff(edges)
    return bool(np.allclose(steps, steps.mean(), rtol=_TOLERANCE))


def _alike(edges: Sequence[float], others: Sequence[float]) -> bool:
    return len(edges) == len(others) and bool(np.allclose(edges, others))


def _no_mesh(found: str) -> ConfigError:
    return ConfigError(
        "Par04 reads one regular cylindrical mesh only",
        where="geometry",
        expected="cylindrical layers with the same, equal steps in r from 0, in alpha and in z",
        found=found,
        remedy="export with the profile generic",
    )
