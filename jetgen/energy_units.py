"""Units of energy in jet files, and the check that catches a wrong one.

MeV taken for GeV is the commonest mistake with ROOT files of the LHC experiments. Three medians over a file leave
their intervals by such a factor of 1000:

* the sum of pT_rel of the stored constituents, near 0.9 (0.91, 0.98 and 0.92 for gluons, light quarks and tops at 1
  TeV), never above 1 by much, and above 0.02 even for two or three constituents;
* mass over pT of the whole jet, 0.03 to 0.5;
* the jets' pT: no clustering is done below some GeV, no collider makes many jets above 10 TeV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import UnitsError
from hepflows.remedies import option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from numpy.typing import NDArray

UNIT_KEYS: Final = ("jet_pt", "jet_mass", "part_pt")
_GEV: Final = {"kev": 1e-6, "mev": 1e-3, "gev": 1.0, "tev": 1e3}
_PT_SUM: Final = (0.02, 3.0)
_MASS_RATIO: Final = (5e-4, 5.0)
_PT_GEV: Final = (3.0, 1e4)


def to_gev(values: NDArray[np.float64], unit: str, *, where: str) -> NDArray[np.float64]:
    """Energies in GeV.

    Raises:
        UnitsError: no unit of energy.
    """
    factor = _GEV.get(unit.strip().lower())
    if factor is None:
        raise UnitsError(
            "unknown unit of energy",
            where=where,
            expected="keV, MeV, GeV or TeV",
            found=repr(unit),
            remedy="choose one of these",
        )
    # a quotient by a power of ten rounds correctly, a product with 0.001 does not
    return values * factor if factor >= 1 else values / round(1 / factor)


def check_magnitudes(
    *,
    pt_sum: NDArray[np.float64],
    jet_pt_gev: NDArray[np.float32] | None,
    jet_mass_gev: NDArray[np.float32] | None,
    units: Mapping[str, str],
    stated: AbstractSet[str],
    where: Path,
) -> None:
    """Raise if energies cannot be in the units assumed.

    Args:
        pt_sum: sum of pT_rel of all stored constituents of each jet, shape (N,).
        jet_pt_gev: pT of the jets, shape (N,), or None.
        jet_mass_gev: their masses, likewise.
        units: unit assumed for each energy in the file.
        stated: names of those that the user stated; a ratio of two such energies is believed.
        where: the file.

    Raises:
        UnitsError: a median is impossible.
    """
    absolute = "part_pt" in units
    pt = None if jet_pt_gev is None else float(np.median(jet_pt_gev))
    total = float(np.median(pt_sum))
    if not (absolute and {"jet_pt", "part_pt"} <= stated) and not _PT_SUM[0] <= total <= _PT_SUM[1]:
        raise UnitsError(
            "the pT of constituents and jets do not fit together",
            where=where,
            expected=f"median of sum(pT) / pT(jet) in [{_PT_SUM[0]:g}, {_PT_SUM[1]:g}]" + _assumed(units),
            found=f"{total:.3g}" + ("" if pt is None else f"; median pT of the jets {pt:.4g} GeV"),
            remedy=_ladder("part_pt", "jet_pt", total, units)
            if absolute
            else "the third particle feature must be the constituent's pT over that of its jet: divide by it",
        )
    if pt is None:
        return
    if jet_pt_gev is not None and jet_mass_gev is not None and not {"jet_pt", "jet_mass"} <= stated:
        ratio = float(np.median(jet_mass_gev / jet_pt_gev))
        if ratio > 0 and not _MASS_RATIO[0] <= ratio <= _MASS_RATIO[1]:
            raise UnitsError(
                "mass and pT of the jets do not fit together",
                where=where,
                expected=f"median of mass / pT in [{_MASS_RATIO[0]:g}, {_MASS_RATIO[1]:g}]{_assumed(units)}",
                found=f"{ratio:.3g}; median pT of the jets {pt:.4g} GeV",
                remedy=_ladder("jet_mass", "jet_pt", ratio, units),
            )
    if "jet_pt" not in stated and not _PT_GEV[0] <= pt <= _PT_GEV[1]:
        other = "MeV" if pt > _PT_GEV[1] else "TeV"
        entries = " and ".join(f"--read units.{key}={other}" for key in UNIT_KEYS if key in units)
        raise UnitsError(
            "the pT of the jets cannot be in the unit assumed",
            where=where,
            expected=f"median in [{_PT_GEV[0]:g}, {_PT_GEV[1]:g}] GeV{_assumed(units)}",
            found=f"{pt:.4g} GeV",
            remedy=f"if the energies are in {other}, pass {entries} (train: --set data.units.jet_pt={other} and so on; "
            "in Python: the argument units); if they are right, state the units assumed",
        )


def _assumed(units: Mapping[str, str]) -> str:
    return " with " + ", ".join(f"{name} in {unit}" for name, unit in units.items()) if units else ""


def _ladder(numerator: str, denominator: str, ratio: float, units: Mapping[str, str]) -> str:
    """Which single other unit would explain a ratio that is off by about 1000."""
    names = ("keV", "MeV", "GeV", "TeV")
    spelled = {name.lower(): i for i, name in enumerate(names)}
    step = 1 if ratio < 1 else -1
    choices = []
    for key, shift in ((numerator, step), (denominator, -step)):
        index = spelled[units[key].strip().lower()] + shift
        if 0 <= index < len(names):
            choices.append(f"units.{key}={names[index]}")
    return f"the file has another unit; pass {option(*choices)}"
