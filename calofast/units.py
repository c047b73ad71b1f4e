"""Units of energy in shower files, and the check that catches a wrong one.

GeV taken for MeV is the commonest mistake with these files. What a calorimeter sees of the incident energy
cannot vanish and cannot exceed it manyfold: sampling calorimeters show 0.02 to 1, the calibrated data of the
CaloChallenge up to 7, pions that leak as little as 0.004. The median over a file must therefore lie in
[0.002, 30], an interval that a factor 1000 always leaves on the data above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hepflows.errors import UnitsError
from hepflows.remedies import option

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from numpy.typing import NDArray

_Float = TypeVar("_Float", np.float32, np.float64)
_POWERS = {"ev": 0, "kev": 3, "mev": 6, "gev": 9, "tev": 12}
RATIO_RANGE = (2e-3, 30.0)
MEDIAN_ENERGY_RANGE_GEV = (0.1, 1e5)


@dataclass(frozen=True)
class Scale:
    """An exact power of ten: multiply, then divide; a division rounds correctly, a factor 0.001 does not."""

    multiply: float
    divide: float

    def apply(self, values: NDArray[_Float], out: NDArray[_Float] | None = None) -> NDArray[_Float]:
        """Scaled copy of `values`, of their type, in `out` if given."""
        if self.divide == 1.0:
            return np.multiply(values, values.dtype.type(self.multiply), out=out)
        return np.divide(values, values.dtype.type(self.divide), out=out)


def scale_to(target: str, unit: str, *, where: str) -> Scale:
    """Scale from `unit` to `target` (MeV or GeV).

    Raises:
        UnitsError: no unit of energy.
    """
    if unit.strip().lower() not in _POWERS:
        raise UnitsError(
            "unknown unit of energy",
            where=where,
            expected="eV, keV, MeV, GeV or TeV",
            found=repr(unit),
            remedy="choose one of these",
        )
    power = _POWERS[unit.strip().lower()] - _POWERS[target.lower()]
    return Scale(10.0 ** max(power, 0), 10.0 ** max(-power, 0))


def check_ratio(
    e_tot_mev: NDArray[np.float64],
    incident_energy_gev: NDArray[np.float32],
    *,
    where: Path,
    energy_unit: str,
    deposit_unit: str,
    stated: AbstractSet[str] = frozenset(),
) -> None:
    """Raise if energies cannot be in the units assumed.

    Args:
        e_tot_mev: sum of voxels as converted from `deposit_unit`, shape (N,); empty showers are ignored.
        incident_energy_gev: as converted from `energy_unit`, shape (N,).
        where: the file.
        energy_unit: unit that was assumed for the incident energy.
        deposit_unit: unit that was assumed for the deposits.
        stated: which of ``incident_energy`` and ``voxels`` the user stated: with both, nothing is checked,
            with the first, the energies themselves are believed.

    Raises:
        UnitsError: the median of E_tot / E_inc or of E_inc is impossible.
    """
    lit = e_tot_mev > 0
    if len(stated) == 2:
        return
    assumed = f"incident energy in {energy_unit}, deposits in {deposit_unit}"
    energy = float(np.median(incident_energy_gev))
    if lit.any():
        ratio = float(np.median(e_tot_mev[lit] / (1e3 * incident_energy_gev[lit])))
        if not RATIO_RANGE[0] <= ratio <= RATIO_RANGE[1]:
            raise UnitsError(
                "the energies cannot be in the units assumed",
                where=where,
                expected=f"median E_tot / E_inc in [{RATIO_RANGE[0]:g}, {RATIO_RANGE[1]:g}] with {assumed}",
                found=f"{ratio:.3g}; median E_inc would be {energy:.4g} GeV",
                remedy=_remedy(ratio, energy, energy_unit, deposit_unit),
            )
    low, high = MEDIAN_ENERGY_RANGE_GEV
    if "incident_energy" not in stated and not low <= energy <= high:
        other = "GeV" if energy < low else "MeV"
        raise UnitsError(
            "the incident energies cannot be in the unit assumed",
            where=where,
            expected=f"median in [{low:g}, {high:g}] GeV with {assumed}",
            found=f"{energy:.4g} GeV",
            remedy=f"if all energies are in {other}, pass {option(f'units.incident_energy={other}')} and likewise "
            f"units.voxels={other}; if they are right, state the units assumed",
        )


def _remedy(ratio: float, energy_gev: float, energy_unit: str, deposit_unit: str) -> str:
    """Which single other unit would explain the ratio, the likelier one first."""
    ladder = ["eV", "keV", "MeV", "GeV", "TeV"]
    spelled = {unit.lower(): unit for unit in ladder}
    step = 1 if ratio < 1 else -1
    options = []
    for key, unit, shift in (("incident_energy", energy_unit, -step), ("voxels", deposit_unit, step)):
        index = ladder.index(spelled[unit.strip().lower()]) + shift
        if 0 <= index < len(ladder):
            options.append(f"units.{key}={ladder[index]}")
    # Beams are seldom below 1 GeV or above 500 GeV: an energy out of this range is the one to blame.
    if 1.0 <= energy_gev <= 500.0:
        options.reverse()
    return f"the file has another unit; pass {option(*options)}"
