"""Pictures of jets: the mean flow of pT in the plane of eta and phi, and single jets as discs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.observable import Discs, Image

if TYPE_CHECKING:
    from jetgen.jets import Jets

REACH: Final = 0.5
"""Half the width of the pictures: a jet of radius 0.4 and some margin."""
_CELLS: Final = 50
_LABELS: Final = (r"$\eta_\mathrm{rel}$", r"$\phi_\mathrm{rel}$ [rad]")


def mean_image(jets: Jets) -> Image:
    """Mean pT_rel in cells of 0.02 x 0.02 (weights respected)."""
    edges = np.linspace(-REACH, REACH, _CELLS + 1)
    weights = np.ones(len(jets)) if jets.weights is None else jets.weights.astype(np.float64)
    flow = jets.pt_rel * (weights / weights.sum())[:, None]
    cells, _, _ = np.histogram2d(
        jets.phi_rel[jets.mask], jets.eta_rel[jets.mask], bins=(edges, edges), weights=flow[jets.mask]
    )
    x, y = np.meshgrid(edges, edges)
    return Image(
        name="pt_flow",
        title="",
        x_label=_LABELS[0],
        y_label=_LABELS[1],
        value_label=r"mean $p_\mathrm{T,rel}$ per cell",
        x_corners=x,
        y_corners=y,
        values=cells,
    )


def discs(jets: Jets) -> tuple[Discs, ...]:
    """Every jet with one disc a constituent, its area proportional to pT_rel."""
    return tuple(
        Discs(
            title=rf"$m_\mathrm{{rel}}$ = {mass:.3f}, n = {count}",
            x_label=_LABELS[0],
            y_label=_LABELS[1],
            x=jets.eta_rel[i, jets.mask[i]].astype(np.float64),
            y=jets.phi_rel[i, jets.mask[i]].astype(np.float64),
            sizes=jets.pt_rel[i, jets.mask[i]].astype(np.float64),
            reach=REACH,
        )
        for i, (mass, count) in enumerate(zip(jets.mass_rel, jets.multiplicity, strict=True))
    )
