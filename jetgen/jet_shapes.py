"""How the transverse momentum is spread within a jet: width, dispersion, N-subjettiness.

Angles are those of the (eta_rel, phi_rel) plane, in rad; the origin is the axis of the whole jet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jetgen.jets import Jets

    Floats = NDArray[np.float64]

MAX_SUBJETS: Final = 3
AXES: Final = "exclusive kT, winner-take-all recombination"
"""How the axes of N-subjettiness are found (arXiv 1401.2158), stated in reports."""


@dataclass(frozen=True, kw_only=True)
class JetShapes:
    """Shapes of N jets.

    Attributes:
        pt_sum: scalar sum of pT_rel, shape (N,).
        width: sum pT dR / sum pT with the distance dR from the origin (girth), in rad, shape (N,).
        dispersion: pTD = sqrt(sum pT^2) / sum pT, between 1 / sqrt(n) and 1, shape (N,).
        tau: N-subjettiness tau_1, tau_2, tau_3 in rad, shape (N, 3); see `subjettiness`.
    """

    pt_sum: Floats
    width: Floats
    dispersion: Floats
    tau: Floats

    def tau_ratio(self, n: int) -> Floats:
        """tau_n / tau_(n-1), shape (N,); NaN where the denominator is 0 (a jet of fewer than n constituents)."""
        upper, lower = self.tau[:, n - 1], self.tau[:, n - 2]
        return np.divide(upper, lower, out=np.full_like(upper, np.nan), where=lower > 0)


def jet_shapes(jets: Jets) -> JetShapes:
    """Shapes of jets from their stored constituents."""
    pt = jets.pt_rel.astype(np.float64)
    eta, phi = jets.eta_rel.astype(np.float64), jets.phi_rel.astype(np.float64)
    total = pt.sum(1)
    scale = np.where(total > 0, total, 1.0)
    return JetShapes(
        pt_sum=total,
        width=(pt * np.hypot(eta, phi)).sum(1) / scale,
        dispersion=np.sqrt((pt**2).sum(1)) / scale,
        tau=subjettiness(eta, phi, pt),
    )


def subjettiness(eta: Floats, phi: Floats, pt: Floats) -> Floats:
    """N-subjettiness with angular exponent 1 (Thaler, Van Tilburg, arXiv 1011.2268).

    tau_N = sum_i pT_i min_a dR(i, axis a) / sum_i pT_i, the pT-weighted mean distance to the nearest of N axes. The
    axes are the directions that remain when constituents are merged in the order of d_ij = min(pT_i, pT_j)^2 dR_ij^2
    until N are left; a merged pair keeps the direction of its harder member, so axes are directions of constituents.

    Args:
        eta: pseudorapidities, shape (N, P).
        phi: azimuths in rad, likewise; differences are taken as they are.
        pt: transverse momenta, 0 in empty slots.

    Returns:
        tau_1, tau_2, tau_3, shape (N, 3); tau_n is exactly 0 for jets of at most n constituents.
    """
    tau = np.zeros((len(pt), MAX_SUBJETS))
    x, y, weight = (np.ascontiguousarray(values, dtype=np.float64) for values in (eta, phi, pt))
    _subjettiness(x, y, weight, tau)
    return tau


def rank_spectra(jets: Jets, ranks: tuple[int, ...]) -> dict[int, Floats]:
    """pT_rel of the constituent at each rank (1 is the hardest), shape (N,); NaN where a jet has fewer."""
    ordered = jets.ordered()
    pt = np.where(ordered.mask, ordered.pt_rel, np.nan).astype(np.float64)
    return {rank: pt[:, rank - 1] for rank in ranks if rank <= jets.n_slots}


@kernel
def _subjettiness(eta: Floats, phi: Floats, pt: Floats, tau: Floats) -> None:
    n_slots = eta.shape[1]
    x, y, weight = np.empty(n_slots), np.empty(n_slots), np.empty(n_slots)
    left, nearest, distance = np.empty(n_slots, np.int64), np.empty(n_slots, np.int64), np.empty(n_slots)
    for jet in range(eta.shape[0]):
        n, total = 0, 0.0
        for i in range(n_slots):
            if pt[jet, i] > 0.0:
                x[n], y[n], weight[n], left[n] = eta[jet, i], phi[jet, i], pt[jet, i], n
                total += pt[jet, i]
                n += 1
        for i in range(n):
            _find_nearest(i, left, n, x, y, weight, nearest, distance)
        for remaining in range(n, 0, -1):
            if remaining <= min(MAX_SUBJETS, n - 1):
                tau[jet, remaining - 1] = _mean_distance(eta[jet], phi[jet], pt[jet], left, remaining, x, y) / total
            if remaining > 1:
                _merge(left, remaining, x, y, weight, nearest, distance)


@kernel
def _merge(
    left: NDArray[np.int64],
    remaining: int,
    x: Floats,
    y: Floats,
    weight: Floats,
    nearest: NDArray[np.int64],
    distance: Floats,
) -> None:
    """Merge the pair of least d_ij: the harder one keeps its direction, the other leaves the list."""
    best = left[0]
    for k in range(1, remaining):
        if distance[left[k]] < distance[best]:
            best = left[k]
    kept, gone = best, nearest[best]
    if weight[gone] > weight[kept]:
        kept, gone = gone, kept
    weight[kept] += weight[gone]
    place = 0
    while left[place] != gone:
        place += 1
    left[place] = left[remaining - 1]
    for k in range(remaining - 1):
        i = left[k]
        # growing weights make distances grow: no other member can have found a nearer partner
        if i == kept or nearest[i] == kept or nearest[i] == gone:
            _find_nearest(i, left, remaining - 1, x, y, weight, nearest, distance)


@kernel
def _find_nearest(
    i: int,
    left: NDArray[np.int64],
    remaining: int,
    x: Floats,
    y: Floats,
    weight: Floats,
    nearest: NDArray[np.int64],
    distance: Floats,
) -> None:
    """The partner of `i` with the least d_ij among those left."""
    distance[i] = np.inf
    for k in range(remaining):
        j = left[k]
        if j != i:
            softer = min(weight[i], weight[j])
            found = softer * softer * ((x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2)
            if found < distance[i]:
                distance[i], nearest[i] = found, j


@kernel
def _mean_distance(
    eta: Floats, phi: Floats, pt: Floats, left: NDArray[np.int64], remaining: int, x: Floats, y: Floats
) -> float:
    """The sum over one jet of pT times the distance to the nearest of the directions left."""
    total = 0.0
    for i in range(len(eta)):
        least = np.inf
        for k in range(remaining):
            axis = left[k]
            least = min(least, (eta[i] - x[axis]) ** 2 + (phi[i] - y[axis]) ** 2)
        total += pt[i] * math.sqrt(least)
    return total
