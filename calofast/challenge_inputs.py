"""High-level classifier inputs of the CaloChallenge (arXiv 2410.21611): its AUC can be compared with published ones.

The other presets take every observable with one value a shower, and so grow with them; these do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from calofast.classifier_inputs import high_columns
from hepflows.observable import Measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hepflows.observable import Observable

_KINDS: Final = ("layer_energy_", "centre_", "width_", "sparsity_")


def challenge_high(
    incident_energy_gev: NDArray[np.float32] | NDArray[np.float64], observables: Sequence[Observable]
) -> NDArray[np.float32]:
    """Published high-level features (N, F).

    log10 of E_inc / MeV, E_tot / E_inc, and of each layer log10 (E / MeV + 1e-8), share of lit voxels, and, if it has
    more than one angular bin, centres and widths in eta, phi and r in units of 100 mm; undefined ones are 0.

    Args:
        incident_energy_gev: of N showers.
        observables: their observables with one value a shower, hit threshold applied.
    """
    energy = np.log10(1e3 * incident_energy_gev.astype(np.float64))[:, None]
    published = [o for o in observables if o.name == "e_tot_ratio" or o.name.startswith(_KINDS)]
    return np.concatenate([energy, high_columns(published)], axis=1).astype(np.float32)


def high_measure(features: NDArray[np.float32]) -> Measure:
    """What FPD and KPD are computed from."""
    return Measure(
        kind="physics",
        names=("fpd", "kpd"),
        label="the CaloChallenge's high-level features of showers",
        values=features,
    )
