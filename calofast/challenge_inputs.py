"""High-level classifier inputs of the CaloChallenge (arXiv 2410.21611): its AUC can be compared with published ones.

The other presets take every observable with one value a shower, and so grow with them; these do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from calofast.shower_observables import event_observables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calofast.showers import Showers
    from hepflows.observable import Observable

_KINDS: Final = ("layer_energy_", "centre_", "width_", "sparsity_")
_TINY_MEV: Final = 1e-8  # keeps the logarithm of an empty layer finite
_LENGTH_MM: Final = 100.0


def challenge_high(showers: Showers) -> NDArray[np.float32]:
    """Published high-level features (N, F) of showers whose threshold is applied.

    log10 of E_inc / MeV, E_tot / E_inc, and of each layer log10 (E / MeV + 1e-8), share of lit voxels, and, if it has
    more than one angular bin, centres and widths in eta, phi and r in units of 100 mm; undefined ones are 0.

    Args:
        showers: N showers.
    """
    found = [o for o in event_observables(showers) if o.name == "e_tot_ratio" or o.name.startswith(_KINDS)]
    columns = [np.log10(1e3 * showers.incident_energy_gev.astype(np.float64)), *map(_scaled, found)]
    return np.stack(columns, axis=1).astype(np.float32)


def _scaled(observable: Observable) -> NDArray[np.float64]:
    values = np.asarray(observable.values, np.float64)
    if observable.unit == "MeV":
        return np.asarray(np.log10(values + _TINY_MEV))
    return np.nan_to_num(values / _LENGTH_MM if observable.unit == "mm" else values)
