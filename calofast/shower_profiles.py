"""Longitudinal and radial profiles of showers: where in depth and how far from the axis the energy lies.

The axis is that of the geometry, x = y = 0 or r = 0, along which particles enter at normal incidence. A cell counts
at its midpoint, so that radii are no finer than the cells; both samples of a comparison share that.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.observable import Observable, Profile, Response

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from calofast.showers import Showers

    Floats = NDArray[np.float64]

CONTAINED: Final = 0.9
"""Share of the energy within `RadialProfile.contained_mm`, as in the definition of the Moliere radius."""
MAX_RADIAL_BINS: Final = 16


@dataclass(frozen=True, kw_only=True)
class RadialProfile:
    """Distances from the axis for N showers.

    Attributes:
        mean_mm: energy-weighted mean distance (N,); NaN for a shower without energy.
        contained_mm: radius that holds 90 % of the energy (N,); linear in r between midpoints of cells.
        edges_mm: edges of the radial bins (K + 1,).
        energies_mev: energy in each bin (N, K).
    """

    mean_mm: Floats
    contained_mm: Floats
    edges_mm: Floats
    energies_mev: NDArray[np.float32]


def radial_profile(showers: Showers) -> RadialProfile:
    """Mean radius, radius of 90 % containment and energy in radial bins of each shower."""
    from calofast.radial_kernel import radial_sums

    radii, ring = _rings(showers.geometry)
    edges = radial_edges(radii)
    bins = np.clip(np.searchsorted(edges, radii, side="right") - 1, 0, len(edges) - 2)
    mean, contained = np.empty(len(showers)), np.empty(len(showers))
    energies = np.empty((len(showers), len(edges) - 1), np.float32)
    radial_sums(showers.voxels_mev, ring, radii, bins, CONTAINED, mean, contained, energies)
    return RadialProfile(mean_mm=mean, contained_mm=contained, edges_mm=edges, energies_mev=energies)


def radial_edges(radii: Floats) -> Floats:
    """Edges (K + 1,) in mm of at most 16 radial bins that hold about equally many of the rising radii of cells."""
    groups = np.array_split(radii, min(MAX_RADIAL_BINS, len(radii)))
    inner = [0.5 * (left[-1] + right[0]) for left, right in pairwise(groups)]
    reach = radii[-1] - inner[-1] if inner else 1.0
    return np.array([0.0, *inner, radii[-1] + reach])


def profile_observables(showers: Showers) -> tuple[Observable, ...]:
    """Values (N,) of the layer that holds most energy and, if cells tell it, of distances from the axis."""
    group = "Longitudinal and radial profile"
    layers = showers.layer_energies_mev
    peak = np.where(layers.sum(1) > 0, layers.argmax(1), np.nan)
    found = [
        Observable(
            name="peak_layer",
            label="layer of most energy",
            unit="",
            group=group,
            values=peak,
        )
    ]
    radial = radial_profile(showers)
    if len(radial.edges_mm) > 2:
        found += [
            Observable(name="radius", label=r"$\langle r \rangle$", unit="mm", group=group, values=radial.mean_mm),
            Observable(name="radius_90", label=r"$r_{90\%}$", unit="mm", group=group, values=radial.contained_mm),
        ]
    return tuple(found)


def shower_response(showers: Showers) -> Response:
    """Incident and deposited energies in GeV, and energies in MeV by layer and by distance from the axis."""
    radial = radial_profile(showers).energies_mev
    return response_of(showers.geometry, showers.incident_energy_gev, showers.layer_energies_mev, radial)


def response_of(
    geometry: Geometry,
    incident_energy_gev: NDArray[np.float32],
    layers_mev: Floats | NDArray[np.float32],
    radial_mev: NDArray[np.float32],
) -> Response:
    """The response of N showers from their energies in layers (N, L) and radial bins (N, K)."""
    edges, unit = _depths(geometry)
    profiles = [
        Profile(
            name="longitudinal",
            label="depth [mm]" if unit else "layer",
            value_label="mean energy per mm [MeV/mm]" if unit else "mean energy per layer [MeV]",
            unit=unit,
            edges=edges,
            values=layers_mev,
        )
    ]
    if radial_mev.shape[1] > 1:
        profiles.append(
            Profile(
                name="radial",
                label="distance from the axis [mm]",
                value_label="mean energy per mm [MeV/mm]",
                unit="mm",
                edges=radial_edges(_rings(geometry)[0]),
                values=radial_mev,
            )
        )
    return Response(
        truth=incident_energy_gev.astype(np.float64),
        signal=1e-3 * layers_mev.sum(1, dtype=np.float64),
        truth_label=r"$E_\mathrm{inc}$",
        signal_label=r"$E_\mathrm{tot}$",
        unit="GeV",
        profiles=tuple(profiles),
    )


def _rings(geometry: Geometry) -> tuple[Floats, NDArray[np.int64]]:
    """Rising distances (R,) of cells from the axis in mm, and the number of each voxel's (V,); equal to 1 nm."""
    radii, ring = np.unique(np.round(geometry.r_mm, 6), return_inverse=True)
    return radii, ring.reshape(-1).astype(np.int64)


def _depths(geometry: Geometry) -> tuple[Floats, str]:
    """Edges (L + 1,) of the layers and their unit: mm from the front if they follow closely, else layer numbers."""
    faces = [layer.z_mm for layer in geometry.layers if layer.z_mm is not None]
    if len(faces) == geometry.n_layers:
        front, back = np.array(faces).T
        if np.allclose(front[1:], back[:-1]):
            return np.asarray(np.append(front, back[-1]) - front[0], np.float64), "mm"
    return np.arange(-0.5, geometry.n_layers), ""
