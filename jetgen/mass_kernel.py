"""Invariant masses of many massless constituents, compiled, in double precision.

With pair differences the mass is m^2 = 2 sum_{i<j} pT_i pT_j (2 sinh^2(d_eta/2) + 2 sin^2(d_phi/2)), which has no
cancellation but P^2/2 terms. The sums over single constituents

    m^2 = (C + D) (2 S + C - D) - A^2 - B^2
    S = sum pT,  C = sum pT 2 sinh^2(x/2),  D = sum pT 2 sin^2(y/2),  A = sum pT sinh x,  B = sum pT sin y

with x = eta - eta_0, y = phi - phi_0 are the same number for *any* centre (E^2 - pz^2 is invariant under boosts along
z, px^2 + py^2 under rotations). At the centre where A = B = 0, the direction of the jet, what is left are sums and
products of positive terms: P terms, and nothing cancels at small angles either. A rounded centre is as good, since A
and B are subtracted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hepflows.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


def jet_masses(eta: NDArray[np.floating], phi: NDArray[np.floating], pt: NDArray[np.floating]) -> NDArray[np.float64]:
    """Invariant mass of each jet's massless constituents.

    Args:
        eta: pseudorapidities, absolute or relative to any axis, shape (N, P), single or double precision.
        phi: azimuths in rad, likewise; turns of 2 pi do not matter.
        pt: transverse momenta, not negative; 0 for slots that hold no constituent. The unit is that of the result;
            with pT relative to the jet's pT it is the dimensionless relative mass.

    Returns:
        Shape (N,), double precision; exactly 0 for one constituent or collinear ones. The relative error is a few
        times 1e-16 for the values as given, however small the angles.
    """
    masses = np.empty(len(eta), dtype=np.float64)
    _jet_masses(np.ascontiguousarray(eta), np.ascontiguousarray(phi), np.ascontiguousarray(pt), masses)
    return masses


@kernel
def _jet_masses(
    eta: NDArray[np.floating], phi: NDArray[np.floating], pt: NDArray[np.floating], masses: NDArray[np.float64]
) -> None:
    n_slots = eta.shape[1]
    for jet in range(eta.shape[0]):
        hardest = 0
        for i in range(1, n_slots):
            if pt[jet, i] > pt[jet, hardest]:
                hardest = i
        if n_slots == 0 or pt[jet, hardest] <= 0.0:
            masses[jet] = 0.0
            continue
        # seen from a constituent, collinear jets have all differences exactly 0
        eta_0, phi_0 = float(eta[jet, hardest]), float(phi[jet, hardest])
        forward = backward = along = across = total = 0.0
        for i in range(n_slots):
            weight = float(pt[jet, i])
            if weight > 0.0:
                x, y = float(eta[jet, i]) - eta_0, float(phi[jet, i]) - phi_0
                total += weight
                forward += weight * math.exp(x)
                backward += weight * math.exp(-x)
                along += weight * math.cos(y)
                across += weight * math.sin(y)
        eta_0 += 0.5 * math.log(forward / backward)
        phi_0 += math.atan2(across, along)
        c = d = a = b = 0.0
        for i in range(n_slots):
            weight = float(pt[jet, i])
            if weight > 0.0:
                sinh = math.sinh(0.5 * (float(eta[jet, i]) - eta_0))
                half = 0.5 * (float(phi[jet, i]) - phi_0)
                sin = math.sin(half)
                c += weight * 2.0 * sinh * sinh
                d += weight * 2.0 * sin * sin
                a += weight * 2.0 * sinh * math.sqrt(1.0 + sinh * sinh)
                b += weight * 2.0 * sin * math.cos(half)
        squared = (c + d) * (2.0 * total + c - d) - a * a - b * b
        masses[jet] = math.sqrt(max(squared, 0.0))
