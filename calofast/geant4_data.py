"""calzone and Geant4's data sets: are they there?

Geant4 ends the process when a data file is missing, so what can be told beforehand is told beforehand.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepflows.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calofast.detector import Detector
    from calofast.truth_engine import Physics

VARIABLE = "GEANT4_DATA_DIR"
_DEFAULT = Path(".local/share/calzone/data")
_HOW = (
    f"`python -m calzone download` fetches them (about 2 GB) to ~/{_DEFAULT}; "
    f"for a copy elsewhere, set {VARIABLE} to the directory that holds them"
)
_OF_ELEMENTS = ("G4EMLOW*/brem_SB/br{z}", "G4EMLOW*/livermore/phot_epics2014/pe-cs-{z}.dat")
_OF_NEUTRONS = "G4PARTICLEXS*/neutron/inel{z}"


def import_calzone() -> Any:
    """Import calzone.

    Raises:
        MissingDependencyError: it is not installed, or not for this machine.
    """
    try:
        import calzone
    except ImportError as error:
        raise MissingDependencyError(
            "Geant4 is not installed",
            expected="the package calzone, which brings Geant4 11",
            found=str(error),
            remedy="pip install 'hepflows[geant4]' (or pip install calzone), then python -m calzone download",
        ) from None
    return calzone


def data_directory() -> Path:
    """Where calzone looks for Geant4's data sets."""
    stated = os.environ.get(VARIABLE)
    return Path(stated) if stated else Path.home() / _DEFAULT


def require_data_sets(detector: Detector, physics: Physics) -> Path:
    """Check that Geant4 finds its data for the elements of a detector.

    Returns:
        The directory of the data sets.

    Raises:
        MissingDependencyError: the directory or tables of an element are missing.
    """
    directory = data_directory()
    if not directory.is_dir():
        raise MissingDependencyError(
            "Geant4's data sets are not there", where=VARIABLE, expected=f"the directory {directory}", remedy=_HOW
        )
    patterns: Sequence[str] = _OF_ELEMENTS if physics.hadronic is None else (*_OF_ELEMENTS, _OF_NEUTRONS)
    for material in detector.materials:
        for pattern in patterns:
            wanted = pattern.format(z=material.atomic_number)
            if not any(directory.glob(wanted)):
                raise MissingDependencyError(
                    f"Geant4's data sets lack {material.name}",
                    where=directory,
                    expected=wanted,
                    remedy=f"{_HOW}, or simulate a detector of other materials",
                )
    return directory
