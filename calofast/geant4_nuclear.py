"""Taking nuclear interactions of photons and electrons out of Geant4.

calzone adds them (G4EmExtraPhysics) to every electromagnetic list and has no switch for it. Without a hadronic
list their pions and neutrons would cross the calorimeter unhindered, and 5 % of the showers would lack
a per cent of their energy and more: with no hadronic list, these interactions have no place either. Geant4
offers what is needed in C++ only, hence the calls by symbol into the libraries that calzone brings. They must
be made after the processes are put together and before their tables are computed.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from hepflows.errors import MissingDependencyError

_GENERAL_PROCESS = 16  # fGammaGeneralProcess in G4EmProcessSubType.hh
_OF_ELECTRONS = ("electronNuclear", "positronNuclear")
_POINTER = ctypes.c_void_p


def remove_photonuclear(calzone: Any) -> None:
    """Remove nuclear interactions of photons, electrons and positrons from an initialised simulation.

    Raises:
        MissingDependencyError: this build of calzone does not let us.
    """
    folder = Path(calzone.__file__).parents[1] / "calzone.libs"
    try:
        table = _function(folder, "G4processes_core", "_ZN14G4ProcessTable15GetProcessTableEv", _POINTER)()
        photon = _function(folder, "G4particles", "_ZN7G4Gamma5GammaEv", _POINTER)()
        find = _function(
            folder,
            "G4processes_core",
            "_ZNK14G4ProcessTable11FindProcessEiPK20G4ParticleDefinition",
            _POINTER,
            _POINTER,
            ctypes.c_int,
            _POINTER,
        )
        set_hadronic = _function(
            folder,
            "G4physicslists",
            "_ZN21G4GammaGeneralProcess13AddHadProcessEP17G4HadronicProcess",
            None,
            _POINTER,
            _POINTER,
        )
        commands = _function(folder, "G4intercoms", "_ZN11G4UImanager12GetUIpointerEv", _POINTER)()
        apply = _function(
            folder,
            "G4intercoms",
            "_ZN11G4UImanager12ApplyCommandEPKc",
            ctypes.c_int,
            _POINTER,
            ctypes.c_char_p,
        )
    except (OSError, AttributeError) as error:
        raise _unknown_build(calzone, str(error)) from None
    process = find(table, _GENERAL_PROCESS, photon)
    if not process:
        raise _unknown_build(calzone, "photons have no general process")
    set_hadronic(process, None)
    for name in _OF_ELECTRONS:
        if apply(commands, f"/process/inactivate {name}".encode()):
            raise _unknown_build(calzone, f"{name} cannot be inactivated")


def _function(folder: Path, library: str, symbol: str, result: Any, *arguments: Any) -> Any:
    files = sorted(folder.glob(f"lib{library}-*.so*"))
    if not files:
        raise OSError(f"no lib{library} in {folder}")
    function = ctypes.CDLL(str(files[0]))[symbol]
    function.restype = result
    function.argtypes = list(arguments)
    return function


def _unknown_build(calzone: Any, found: str) -> MissingDependencyError:
    return MissingDependencyError(
        "nuclear interactions of photons cannot be taken out of this build of calzone",
        expected="a wheel of calzone 1.2 for Linux",
        found=f"calzone {calzone.VERSION}: {found}",
        remedy="pip install 'calzone>=1.2,<1.3', or choose a list with hadrons, --physics option1+FTFP_BERT",
    )
