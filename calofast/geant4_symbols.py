"""What calzone does not offer, through the symbols of the Geant4 libraries that it brings.

* Nuclear interactions of photons and electrons (G4EmExtraPhysics) are part of calzone's electromagnetic lists,
  without a switch. Without a hadronic list their pions and neutrons cross the calorimeter unhindered, and 5 % of
  the showers lack a per cent of their energy or more: `remove_photonuclear`.
* calzone says where the steps of charged particles began, but of neutral ones only where they ended, and
  photons leave a fifth of the energy (that of electrons below the production cut). It asks for the charge of
  the particle, so a charge far too small to act makes it give both: `record_photon_steps`. Nothing else asks
  for a photon's charge once its processes are put together and there is no field. The other way, recording
  all tracks, gives the same showers in more than twice the time.

Both check what they find and say so where a build of calzone differs from those that they were made for.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from hepflows.errors import MissingDependencyError

_GENERAL_PROCESS = 16  # fGammaGeneralProcess in G4EmProcessSubType.hh
_OF_ELECTRONS = ("electronNuclear", "positronNuclear")
_POINTER = ctypes.c_void_p

# Offsets in G4ParticleDefinition, which has virtual functions, two tables of quarks and the name before them.
_MASS, _CHARGE = 88, 104
_POSITRON_MASS_MEV = (0.5109, 0.5110)
_NEXT_TO_NOTHING = 1e-300


def remove_photonuclear(calzone: Any) -> None:
    """Take nuclear interactions of photons, electrons and positrons out.

    To be called when the processes are put together, but before their tables are computed.

    Raises:
        MissingDependencyError: this build of calzone does not let us.
    """
    try:
        table = _function(calzone, "G4processes_core", "_ZN14G4ProcessTable15GetProcessTableEv", _POINTER)()
        find = _function(
            calzone,
            "G4processes_core",
            "_ZNK14G4ProcessTable11FindProcessEiPK20G4ParticleDefinition",
            _POINTER,
            _POINTER,
            ctypes.c_int,
            _POINTER,
        )
        set_hadronic = _function(
            calzone,
            "G4physicslists",
            "_ZN21G4GammaGeneralProcess13AddHadProcessEP17G4HadronicProcess",
            None,
            _POINTER,
            _POINTER,
        )
        commands = _function(calzone, "G4intercoms", "_ZN11G4UImanager12GetUIpointerEv", _POINTER)()
        apply = _function(
            calzone,
            "G4intercoms",
            "_ZN11G4UImanager12ApplyCommandEPKc",
            ctypes.c_int,
            _POINTER,
            ctypes.c_char_p,
        )
        photon = _photon(calzone)
    except (OSError, AttributeError) as error:
        raise _unknown_build(calzone, str(error)) from None
    process = find(table, _GENERAL_PROCESS, photon)
    if not process:
        raise _unknown_build(calzone, "photons have no general process")
    set_hadronic(process, None)
    for name in _OF_ELECTRONS:
        if apply(commands, f"/process/inactivate {name}".encode()):
            raise _unknown_build(calzone, f"{name} cannot be inactivated")


def record_photon_steps(calzone: Any) -> bool:
    """Make calzone give the start of photons' steps, too; whether that was possible."""
    try:
        photon = _photon(calzone)
        positron = _function(calzone, "G4particles", "_ZN10G4Positron8PositronEv", _POINTER)()
    except (OSError, AttributeError):
        return False
    low, high = _POSITRON_MASS_MEV
    as_expected = (
        low < _number(positron, _MASS).value < high
        and _number(positron, _CHARGE).value == 1.0
        and _number(photon, _MASS).value == 0.0
        and _number(photon, _CHARGE).value in (0.0, _NEXT_TO_NOTHING)
    )
    if as_expected:
        _number(photon, _CHARGE).value = _NEXT_TO_NOTHING
    return as_expected


def _photon(calzone: Any) -> int:
    return int(_function(calzone, "G4particles", "_ZN7G4Gamma5GammaEv", _POINTER)())


def _number(particle: int, offset: int) -> ctypes.c_double:
    return ctypes.c_double.from_address(particle + offset)


def _function(calzone: Any, library: str, symbol: str, result: Any, *arguments: Any) -> Any:
    folder = Path(calzone.__file__).parents[1] / "calzone.libs"
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
