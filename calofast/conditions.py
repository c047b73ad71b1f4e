"""Which scalars of a file are conditions of its showers, and in which units.

A condition is a property of the incoming particle beside its energy. Files name them freely, so a scalar
counts as one if its name is known (``theta`` ...), if the name ends with a unit (``theta_rad``), if this
package wrote it as one, or if the caller asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calofast.showers import unit_of

if TYPE_CHECKING:
    from collections.abc import Collection

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
