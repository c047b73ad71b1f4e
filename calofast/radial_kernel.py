"""The compiled loop over voxels behind `calofast.shower_profiles`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepflows.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def radial_sums(
    voxels: NDArray[np.float32],
    ring: NDArray[np.int64],
    radii: NDArray[np.float64],
    bins: NDArray[np.int64],
    share: float,
    mean: NDArray[np.float64],
    contained: NDArray[np.float64],
    energies: NDArray[np.float32],
) -> None:
    """Sum each shower over rings of cells at equal distance from the axis.

    Args:
        voxels: energies (N, V).
        ring: number of each voxel's ring (V,).
        radii: rising distances of the rings (R,).
        bins: number of each ring's radial bin (R,).
        share: of the energy that `contained` holds, in 0 ... 1.
        mean: out, energy-weighted mean distance (N,), NaN without energy.
        contained: out, radius that holds `share` of the energy (N,), NaN without energy.
        energies: out, energy in each radial bin (N, K).
    """
    sums = np.zeros(len(radii))
    binned = np.zeros(energies.shape[1])
    for event in range(voxels.shape[0]):
        sums[:] = 0.0
        binned[:] = 0.0
        for v in range(voxels.shape[1]):
            sums[ring[v]] += voxels[event, v]
        total = weighted = 0.0
        for k in range(len(radii)):
            total += sums[k]
            weighted += sums[k] * radii[k]
            binned[bins[k]] += sums[k]
        for b in range(energies.shape[1]):
            energies[event, b] = binned[b]
        mean[event] = contained[event] = np.nan
        if total <= 0.0:
            continue
        mean[event] = weighted / total
        wanted, below = share * total, 0.0
        for k in range(len(radii)):
            if sums[k] > 0.0 and below + sums[k] >= wanted:
                # the energy of a ring is taken to lie between the ring before it and itself
                inner = radii[k - 1] if k > 0 else radii[0]
                contained[event] = inner + (radii[k] - inner) * (wanted - below) / sums[k]
                break
            below += sums[k]
