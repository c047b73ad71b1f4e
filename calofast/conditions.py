"""Which scalars of a file are conditions of its showers, and in which units.

A condition is a property of the incoming particle beside its energy. Files name them freely, so a scalar
counts as one if its name is known (``theta`` ...), if the name ends with a unit (``theta_rad``), if this
package wrote it as one, or if the caller asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calofast.showers import SUFFIXES, unit_of
from hepflows.errors import DataError, UnitsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from numpy.typing import NDArray

_KNOWN_UNITS = {
    "theta": "rad", "phi": "rad", "alpha": "rad", "eta": "", "cos_theta": "", "cos_phi": "",
    "x": "mm", "y": "mm", "z": "mm", "vertex_x": "mm", "vertex_y": "mm", "vertex_z": "mm",
}  # fmt: skip
WEIGHT_NAMES = ("weights", "weight")
_PREFIXES = ("hit_", "cell_", "layer_")


def as_condition(
    name: str, unit: str | None, *, requested: Collection[str] | None, stored: Collection[str] = ()
) -> tuple[str, str] | None:
    """Decide whether a scalar is a condition.

    Args:
        name: name of the data set or branch.
        unit: unit that the file states beside it, or None.
        requested: names the caller asked for; None stands for the rule above.
        stored: names that the file itself lists as conditions.

    Returns:
        Name, with the unit appended where it was missing, and unit; or None.
    """
    if requested is None:
        known = name in stored or name.lower() in _KNOWN_UNITS or unit_of(name) != ""
        if not known or name.startswith(_PREFIXES):
            return None
    stated = unit if unit is not None else unit_of(name) or _KNOWN_UNITS.get(name.lower(), "")
    full = name if not stated or name in stored or unit_of(name) else f"{name}_{stated.lower()}"
    if requested is not None and name not in requested and full not in requested:
        return None
    return full, stated


def read_conditions(
    names: Iterable[str],
    read: Callable[[str], NDArray[np.float64]],
    *,
    stated: Mapping[str, str | None],
    requested: Collection[str] | None,
    stored: Collection[str] = (),
    has_pdg: bool = False,
    where: str,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Read the conditions of a file.

    Args:
        names: its scalars that have no other meaning.
        read: gives the values of one, shape (N,).
        stated: units that the file states beside them.
        requested: names the caller asked for; None stands for the rule above.
        stored: names that the file itself lists as conditions.
        has_pdg: whether the file tells each shower's particle, which then may be asked for as ``pdg``.
        where: the file, for messages.

    Returns:
        Values and units by name.

    Raises:
        DataError: one that was asked for is missing, two would have the same name.
        UnitsError: a name and the unit beside it contradict each other.
    """
    values: dict[str, NDArray[np.float32]] = {}
    units: dict[str, str] = {}
    sources: dict[str, str] = {}
    candidates = list(names)
    for name in candidates:
        choice = as_condition(name, stated.get(name), requested=requested, stored=stored)
        if choice is None:
            continue
        full, unit = choice
        in_name = unit_of(name).lower()
        if in_name and unit.lower() in SUFFIXES and unit.lower() != in_name:
            raise UnitsError(
                "the name of a condition and its unit contradict each other",
                where=f"{where}: {name}",
                expected=f"unit {unit_of(name)}",
                found=f"unit {unit}",
                remedy="correct the one that is wrong in the file",
            )
        if full in sources:
            raise DataError(
                f"two scalars would be the condition {full}",
                where=where,
                found=f"{sources[full]}, {name}",
                remedy="leave one of them out of the file",
            )
        sources[full], units[full] = name, unit
        values[full] = read(name).astype(np.float32)
    for name in requested or ():
        if name == "pdg" and has_pdg:
            continue
        if name not in values and not any(key.startswith(f"{name}_") for key in values):
            raise DataError(
                "no such scalar",
                where=f"{where}: {name}",
                found=", ".join(candidates[:20]) or "no scalar but the incident energy",
                remedy="check the name in conditions",
            )
    return values, units


def particle_codes(values: NDArray[np.float64], *, where: str) -> NDArray[np.int64]:
    """PDG codes as integers.

    Raises:
        DataError: one is no whole number.
    """
    wrong = ~np.isfinite(values) | (values != np.round(values))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError("not a PDG code", where=f"{where}[{first}]", expected="a whole number", found=values[first])
    return values.astype(np.int64)
