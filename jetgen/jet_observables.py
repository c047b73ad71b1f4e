"""The observables of jets: names, labels, units, histogram edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.observable import Observable
from jetgen.energy_flow import PRIME_GRAPHS, energy_flow
from jetgen.jet_shapes import jet_shapes, rank_spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jetgen.jets import Jets

    Floats = NDArray[np.float64]

RANKS: Final = (1, 2, 3, 5, 10, 20, 30, 50, 100, 150)
"""Ranks in pT whose spectra are shown."""


def jet_observables(jets: Jets) -> tuple[Observable, ...]:
    """Observables with one value a jet (N,): mass, multiplicity, shapes, energy-flow polynomials."""
    return (*_whole_jet(jets), *_energy_flow(jets))


def constituent_observables(jets: Jets) -> tuple[Observable, ...]:
    """Coordinates of all constituents (N, P) and pT spectra by rank (N,); NaN in empty slots."""
    group = "Constituents"
    angles = (("eta_rel", r"\eta", ""), ("phi_rel", r"\phi", "rad"))
    found = [
        Observable(
            name=name,
            label=rf"${symbol}_\mathrm{{rel}}$",
            unit=unit,
            group=group,
            values=np.where(jets.mask, getattr(jets, name), np.float32(np.nan)),
        )
        for name, symbol, unit in angles
    ]
    pt = np.where(jets.mask, jets.pt_rel, np.float32(np.nan))
    label = r"p_\mathrm{T,rel}"
    found.append(Observable(name="pt_rel", label=f"${label}$", unit="", group=group, values=pt, log=True))
    return (
        *found,
        *(
            Observable(
                name=f"pt_rel_rank_{rank}",
                label=f"${label}$, rank {rank}",
                unit="",
                group="Constituents by rank",
                values=values,
            )
            for rank, values in rank_spectra(jets, RANKS).items()
        ),
    )


def _whole_jet(jets: Jets) -> list[Observable]:
    shapes = jet_shapes(jets)
    jet, shape = "Jets", "Jet shapes"
    whole = np.arange(0.5, jets.n_slots + 1.0)
    ratios = ((n, rf"$\tau_{{{n}{n - 1}}}$", shapes.tau_ratio(n)) for n in (2, 3))
    return [
        _one("mass_rel", r"$m_\mathrm{rel}$", jet, jets.mass_rel),
        _one("multiplicity", "number of constituents", jet, jets.multiplicity.astype(np.float64), edges=whole),
        _one("pt_sum", r"$\sum p_\mathrm{T,rel}$", jet, shapes.pt_sum),
        _one("width", "width (girth)", shape, shapes.width, unit="rad"),
        _one("dispersion", r"$p_\mathrm{T}D$", shape, shapes.dispersion),
        *(_one(f"tau{n + 1}", rf"$\tau_{n + 1}$", shape, shapes.tau[:, n], unit="rad") for n in range(3)),
        *(_one(f"tau{n}{n - 1}", label, shape, values) for n, label, values in ratios),
    ]


def _energy_flow(jets: Jets) -> list[Observable]:
    values = energy_flow(jets, tuple(PRIME_GRAPHS.values()))
    return [
        _one(f"efp_{name}", f"EFP, {name.replace('_', ' ')}", "Energy-flow polynomials", values[:, k], log=True)
        for k, name in enumerate(PRIME_GRAPHS)
    ]


def _one(
    name: str, label: str, group: str, values: Floats, *, unit: str = "", log: bool = False, edges: Floats | None = None
) -> Observable:
    return Observable(name=name, label=label, unit=unit, group=group, values=values, log=log, edges=edges)
