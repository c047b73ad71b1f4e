"""The observables of showers: names, labels, units, published histogram edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calofast.shower_shapes import ShowerShapes, layer_label, shower_shapes
from hepflows.observable import Observable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from calofast.showers import Showers

_CHALLENGE = "calochallenge_"
_MAX_SPECTRA = 8  # geometries with more layers get no voxel spectrum of each layer


def event_observables(showers: Showers) -> tuple[Observable, ...]:
    """Observables with one value a shower (N,): response, depth, layers, centres, widths, sparsity."""
    shapes = shower_shapes(showers)
    return (*_global(showers, shapes), *_per_layer(showers, shapes))


def voxel_observables(showers: Showers) -> tuple[Observable, ...]:
    """Spectra (N, M) of all voxels and, for few layers, of each; dark voxels count as below the edges."""
    spectra = [("voxel_energy", "voxel energy", showers.voxels_mev)]
    geometry = showers.geometry
    if geometry.n_layers <= _MAX_SPECTRA:
        for layer, part in zip(geometry.layers, geometry.layer_slices, strict=True):
            tag = layer_label(layer)
            spectra.append((f"voxel_energy_{tag}", f"voxel energy, layer {tag}", showers.voxels_mev[:, part]))
    return tuple(
        Observable(
            name=name,
            label=label,
            unit="MeV",
            group="Voxel energies",
            values=values,
            log=True,
            cells=name == "voxel_energy",
        )
        for name, label, values in spectra
    )


def _global(showers: Showers, shapes: ShowerShapes) -> list[Observable]:
    e_tot = shapes.layer_energies_mev.sum(1)
    index = np.arange(showers.geometry.n_layers)
    shares = shapes.layer_fractions
    depth = shares @ index
    spread = np.sqrt(np.maximum(shares @ index**2 - depth**2, 0.0))
    group = "Response and depth"
    return [
        Observable(
            name="e_tot_ratio",
            label=r"$E_\mathrm{tot}/E_\mathrm{inc}$",
            unit="",
            group=group,
            values=e_tot / (1e3 * showers.incident_energy_gev.astype(np.float64)),
            edges=_published(showers.geometry, "e_tot_ratio"),
        ),
        Observable(name="depth", label="energy-weighted depth [layers]", unit="", group=group, values=depth),
        Observable(name="depth_width", label="width of the depth [layers]", unit="", group=group, values=spread),
        Observable(name="sparsity", label="share of lit voxels", unit="", group=group, values=shapes.sparsity),
    ]


def _per_layer(showers: Showers, shapes: ShowerShapes) -> list[Observable]:
    result = []
    for i, layer in enumerate(showers.geometry.layers):
        tag = layer_label(layer)
        result += [
            Observable(
                name=f"layer_energy_{tag}",
                label=f"$E_{{{tag}}}$",
                unit="MeV",
                group="Layer energies",
                values=shapes.layer_energies_mev[:, i],
                log=True,
            ),
            Observable(
                name=f"layer_fraction_{tag}",
                label=rf"$E_{{{tag}}}/E_\mathrm{{tot}}$",
                unit="",
                group="Layer fractions",
                values=shapes.layer_fractions[:, i],
            ),
            Observable(
                name=f"sparsity_{tag}",
                label=f"share of lit voxels, layer {tag}",
                unit="",
                group="Lit voxels",
                values=shapes.layer_sparsity[:, i],
            ),
        ]
        for axis, (centre, width) in shapes.axes[i].items():
            symbol = {"eta": r"\eta", "phi": r"\phi"}.get(axis, axis)
            result += [
                Observable(
                    name=f"centre_{axis}_{tag}",
                    label=rf"$\langle {symbol} \rangle_{{{tag}}}$",
                    unit="mm",
                    group="Shower centres" if axis != "r" else "Radial profile",
                    values=centre,
                    edges=_published(showers.geometry, f"centre_{axis}", tag),
                ),
                Observable(
                    name=f"width_{axis}_{tag}",
                    label=rf"$\sigma_{{{symbol},{tag}}}$",
                    unit="mm",
                    group="Shower widths" if axis != "r" else "Radial profile",
                    values=width,
                    edges=_published(showers.geometry, f"width_{axis}", tag),
                ),
            ]
    return result


def _published(geometry: Geometry, kind: str, layer: str = "") -> NDArray[np.float64] | None:
    """Edges of the CaloChallenge's histograms (its public evaluation code), None for other geometries."""
    if not geometry.name.startswith(_CHALLENGE):
        return None
    if kind == "e_tot_ratio":
        return np.linspace(0.5, 1.5, 101)
    if kind.endswith("_r"):
        return None
    if "dataset_" in geometry.name:
        reach, width = 30.0, 30.0
    else:
        reach, width = (500.0, 400.0) if layer in ("12", "13") else (100.0, 100.0)
    return np.linspace(-reach, reach, 101) if kind.startswith("centre") else np.linspace(0.0, width, 101)
