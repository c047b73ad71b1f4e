"""Feature matrices of the classifier test, in the scales of the published classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calofast.shower_observables import event_observables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from calofast.showers import Showers
    from hepflows.observable import Observable

_TINY_MEV = 1e-8  # keeps the logarithm of an empty layer finite, as in the published classifiers


def feature_matrix(showers: Showers, *, inputs: str, caloflow: bool, threshold_mev: float) -> NDArray[np.float32]:
    """Features (N, F) of showers whose threshold is applied: E_inc, then voxels, then layer energies.

    ``low_normed`` of the CaloChallenge has no E_inc: a classifier sees it in the layer energies only.

    Args:
        showers: N showers.
        inputs: ``low``, ``low_normed``, ``log`` or ``high``.
        caloflow: scales of arXiv 2106.05285 instead of those of arXiv 2410.21611 for ``low``, ``low_normed``.
        threshold_mev: the hit threshold, at which ``log`` puts dark voxels.
    """
    e_inc_mev = 1e3 * showers.incident_energy_gev.astype(np.float64)[:, None]
    parts: list[NDArray[np.float64] | NDArray[np.float32]]
    if inputs == "high":
        parts = [np.log10(e_inc_mev), high_columns(event_observables(showers))]
    elif inputs == "log":
        floor = np.float32(threshold_mev if threshold_mev > 0 else 1e-3)
        parts = [np.log10(e_inc_mev), np.log10(np.maximum(showers.voxels_mev, floor) / floor)]
    else:
        parts = _low(showers, e_inc_mev, normed=inputs == "low_normed", caloflow=caloflow)
    return np.concatenate([part.astype(np.float32, copy=False) for part in parts], axis=1)


def _low(
    showers: Showers, e_inc_mev: NDArray[np.float64], *, normed: bool, caloflow: bool
) -> list[NDArray[np.float64] | NDArray[np.float32]]:
    """Columns of ``low`` and ``low_normed`` from E_inc, voxels and layer energies."""
    layers_mev = showers.layer_energies_mev
    voxels = showers.voxels_mev
    if normed:
        of_voxel = layers_mev.astype(np.float32)[:, showers.geometry.layer_index]
        scaled = np.divide(voxels, of_voxel, out=np.zeros_like(voxels), where=of_voxel > 0)
    else:
        scaled = voxels / np.float32(1e5) if caloflow else voxels / e_inc_mev.astype(np.float32)
    if caloflow:  # voxels in 100 GeV, E_inc in 10 GeV
        return [np.log10(e_inc_mev / 1e4), scaled, np.log10(layers_mev / 1e5 + 1e-8) + 2]
    if normed:
        return [scaled, np.log10(layers_mev + _TINY_MEV)]
    return [np.log10(e_inc_mev), scaled]


def high_columns(observables: Sequence[Observable]) -> NDArray[np.float64]:
    """Observables with one entry a shower: log10 of layer energies, lengths in 100 mm, undefined ones 0."""
    columns = []
    for observable in observables:
        values = np.asarray(observable.values, np.float64)
        if observable.unit == "MeV":
            values = np.log10(values + _TINY_MEV)
        elif observable.unit == "mm":
            values = values / 100.0
        columns.append(np.nan_to_num(values))
    return np.stack(columns, axis=1)
